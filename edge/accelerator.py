"""The Edge TPU: used while it works, replaced by the CPU when it does not, and tried again.

The daemon always begins on the CPU. An Edge TPU that `[runtime] edgetpu` asks for joins once a
process of its own has loaded its library, run the golden vectors on it and ended well: a library
built for another runtime crashes, a stick that is stuck hangs, and neither may take the daemon with
it. From then on the frame model runs there, in a thread that is waited for no longer than
`edgetpu_hang_s`:

- one that is missing, is refused or fails is left, the very face that failed is done by the CPU,
  and it is tried again after `edgetpu_retry_s`;
- one that hangs holds a thread that nothing frees. That is noted on disk, `HungError` ends the
  process with its tracks ended, and the next one begins without it. It is tried again there, later
  after each further hang.

Loading the library holds the interpreter's lock (`ctypes.pydll`), so that a hang there stops every
thread until the service manager kills the process. The note is therefore written before, and taken
back afterwards. Never tried on hardware.
"""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Literal, final

import msgspec

from edge import goldens
from edge.bundle import Bundle, StreamManifest, load_stream
from edge.errors import HungError, MienError, ModelError
from edge.networks import StreamNetworks
from edge.notes import Note, Notes
from edge.runtime import Array, Library, Model, load_edgetpu
from edge.settings import Runtime

_log = logging.getLogger(__name__)

COMPILED = "frame_edgetpu.tflite"
"""What edgetpu_compiler makes of a bundle's frame model, beside it."""

TRIAL_S = 30.0
"""How long loading, sending the firmware and `TRIAL_STEPS` golden steps may take."""

LOAD_S = 15.0
"""How long loading it here may take, which the main thread waits for: less than WatchdogSec."""

_TOO_LONG = f"it hangs: {TRIAL_S:g} s were not enough to try it"

TRIAL_STEPS = 50

SOUND_S = 3600.0
"""How long it must have worked until the hangs of the past are forgotten."""

LONGEST_S = 86_400.0
"""The longest wait from one hang to the next attempt."""

State = Literal["off", "waiting", "trying", "in service"]


def trial(bundle: str, sha256: str, library: Library) -> None:
    """Run a bundle's golden vectors with its frame model on the Edge TPU; for a process of its own.

    Parameters
    ----------
    bundle
        Its folder.
    sha256
        Of the manifest that is in force, which somebody may have replaced there since.
    library
        Which package runs it.

    Raises
    ------
    ModelError
        It cannot be used, or answers differently.
    """
    loaded, manifest = load_stream(bundle)
    if loaded.sha256 != sha256:
        raise ModelError(f"{bundle}: is another bundle by now; reload the configuration")
    networks = StreamNetworks(loaded, manifest, library=library)
    networks.use(_model(loaded, manifest, library))
    found = goldens.check(networks, goldens.read(loaded, manifest), steps=TRIAL_STEPS)
    if not found.passed:
        raise ModelError(
            f"{COMPILED} answers otherwise than {manifest.frame.file} (by "
            f"{found.frame_difference:.3g} logits); compile it again from this bundle"
        )


def _model(bundle: Bundle, manifest: StreamManifest, library: Library) -> Model:
    file = bundle.path / COMPILED
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise ModelError(
            f"{file}: {exc.strerror}; make it with edgetpu_compiler from {manifest.frame.file}"
        ) from exc
    spec = msgspec.structs.replace(manifest.frame, file=COMPILED)
    return Model(data, spec, library=library, delegate=load_edgetpu(library))


@final
class _Worker:
    """Does one thing after the other in a thread of its own, and waits no longer than asked."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="edgetpu", daemon=True).start()

    def do(self, work: Callable[[], object], longest_s: float) -> object:
        """Return what `work` returns, or raise what it raises; `TimeoutError` if it hangs."""
        self._work.put(work)
        try:
            result, error = self._done.get(timeout=longest_s)
        except queue.Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """Let the thread end, if it does not hang."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                self._done.put((work(), None))
            except BaseException as exc:  # noqa: BLE001  # handed over whole: `do` raises it
                self._done.put((None, exc))


@final
class EdgeTpu:
    """Looks after the Edge TPU of one bundle's frame model. Used by the main thread only.

    Parameters
    ----------
    settings
        Whether one is asked for, and how long things may take.
    bundle, manifest
        The expression bundle.
    networks
        Who shall use it.
    signed
        Whether bundles must be signed. The compiled file is named in no manifest, so no
        signature covers it, and then it is never loaded.
    notes
        What earlier processes left.
    """

    def __init__(
        self,
        settings: Runtime,
        bundle: Bundle,
        manifest: StreamManifest,
        networks: StreamNetworks,
        *,
        signed: bool,
        notes: Notes,
    ) -> None:
        self._settings = settings
        self._bundle = bundle
        self._manifest = manifest
        self._networks = networks
        self._notes = notes
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._worker: _Worker | None = None
        self._model: Model | None = None
        self._failure: str | None = None
        self._due_s: float | None = None
        self._begun_s = 0.0
        self.state: State = "waiting" if settings.edgetpu else "off"
        self.trouble: str | None = None
        """Why it is not used though it should be, in words; None where all is as asked."""
        if signed and settings.edgetpu:
            self.state = "off"
            self._avoid(f"no signature covers {COMPILED}, and bundle_key asks for one")

    def attend(self, now_s: float) -> None:
        """Take the next step, if there is one; to be called about once a second.

        Raises
        ------
        HungError
            Loading it hangs.
        """
        if self.state == "waiting":
            self._wait(now_s)
        elif self.state == "trying":
            self._try(now_s)
        elif self.state == "in service":
            if self._failure is not None:
                self._again(f"it failed: {self._failure}", now_s)
            elif self._notes.note.hangs and now_s - self._begun_s > SOUND_S:
                self._notes.leave(Note())

    def close(self) -> None:
        """Leave the Edge TPU alone; the CPU takes over."""
        self._leave()
        self.state = "off"

    def _wait(self, now_s: float) -> None:
        if self._due_s is None:
            note = self._notes.note
            self._due_s = now_s
            if note.hangs:
                self._again(f"it hung in an earlier process ({note.reason})", now_s)
                return
        if now_s < self._due_s:
            return
        code = "import sys; from edge import accelerator; accelerator.trial(*sys.argv[1:])"
        which = (str(self._bundle.path), self._bundle.sha256, self._settings.library)
        command = [sys.executable, "-c", code, *which]
        try:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed once it was read
            self._child = subprocess.Popen(  # noqa: S603  # our own interpreter
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said
            )
        except OSError as exc:
            self._again(f"no process can be begun to try it ({exc.strerror})", now_s)
            return
        self._begun_s = now_s
        self.state = "trying"

    def _try(self, now_s: float) -> None:
        assert self._child is not None  # noqa: S101  # the state says so
        code = self._child.poll()
        if code is None:
            if now_s - self._begun_s > TRIAL_S:
                # In the kernel's hands it may not even die: another is tried once it has.
                self._child.kill()
                self._avoid(_TOO_LONG)
            return
        said = self._heard()
        if code == 0:
            self._join(now_s)
        elif now_s - self._begun_s > TRIAL_S:
            self._again(_TOO_LONG, now_s)
        elif code < 0:
            self._again(
                f"its library crashes (signal {-code}): install the one that goes with "
                f"{self._settings.library}",
                now_s,
            )
        else:
            self._again(said, now_s)

    def _heard(self) -> str:
        """Return the last line that the child wrote, without the name of its exception."""
        assert self._said is not None  # noqa: S101  # it comes with the child
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or ["no reason"]
        self._said.close()
        self._child = self._said = None
        return lines[-1].removeprefix("edge.errors.ModelError: ")

    def _join(self, now_s: float) -> None:
        """Load it here too, and let the networks use it."""
        before = self._notes.note
        self._notes.leave(Note(before.hangs + 1, "while it was loaded"))
        self._worker = _Worker()
        work = self._worker
        try:
            model = work.do(
                lambda: _model(self._bundle, self._manifest, self._settings.library), LOAD_S
            )
        except TimeoutError:
            raise self._hung("while it was loaded", counted=True) from None
        except MienError as exc:
            self._notes.leave(before)
            self._again(str(exc), now_s)
            return
        assert isinstance(model, Model)  # noqa: S101  # what `_model` returns
        self._notes.leave(before)
        self._model, self._failure, self._begun_s = model, None, now_s
        self._networks.use(self._run)
        self.state, self.trouble = "in service", None
        _log.info("edgetpu: it runs the frame model")

    def _run(self, *inputs: Array) -> tuple[Array, ...]:
        """Run the frame model there; by the CPU where that fails.

        Raises
        ------
        HungError
            It does not return.
        """
        model, worker = self._model, self._worker
        assert model is not None  # noqa: S101  # in service
        assert worker is not None  # noqa: S101  # in service
        outputs: tuple[Array, ...]
        try:
            outputs = worker.do(  # type: ignore[assignment]  # what a model returns
                lambda: model(*inputs), self._settings.edgetpu_hang_s
            )
        except TimeoutError:
            raise self._hung("in the midst of a face", counted=False) from None
        except MienError as exc:
            self._failure = str(exc)
            self._networks.use(None)
            return self._networks.frame(*inputs)
        return outputs

    def _hung(self, reason: str, *, counted: bool) -> HungError:
        if not counted:
            self._notes.leave(Note(self._notes.note.hangs + 1, reason))
        return HungError(
            f"edgetpu: it hangs, {reason}, and only a new process gets rid of that; unplug it and "
            "plug it in again"
        )

    def _again(self, reason: str, now_s: float) -> None:
        """Do without it until it is worth another attempt."""
        self._leave()
        doublings = max(self._notes.note.hangs - 1, 0)
        wait_s = min(self._settings.edgetpu_retry_s * 2.0 ** min(doublings, 20), LONGEST_S)
        self._due_s, self.state = now_s + wait_s, "waiting"
        self._avoid(f"{reason}; tried again after {wait_s:.0f} s")

    def _avoid(self, reason: str) -> None:
        if self.trouble is None or reason != self.trouble:
            _log.warning("edgetpu: not used: %s", reason)
        self.trouble = reason

    def _leave(self) -> None:
        if self._child is not None:
            self._child.kill()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(1.0)
            self._heard()
        if self._worker is not None:
            self._worker.end()
        self._networks.use(None)
        self._worker = self._model = self._failure = None
