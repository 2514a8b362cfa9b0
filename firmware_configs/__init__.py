"""What prepares a device: its configuration today, cards to flash later."""
