"""What prepares a device: boards, roles, and cards to flash (`mien-flash`)."""
