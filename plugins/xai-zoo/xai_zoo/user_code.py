"""Imports files and modules of the user, and finds functions in them, with errors that name the file and line."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from xai_core.plugin import FileError, ModelCodeError, UnknownModelError, is_file, suggest


@contextmanager
def importable(folder: Path) -> Iterator[Callable[[], list[Path]]]:
    """Let code import the modules of a folder in this block, as Python does for scripts in the folder.

    The block receives a function that returns the imported files of the folder. They are unloaded after the block, so
    that files with the same name in another folder are not confused with them. Objects from these files keep working.
    """
    known = set(sys.modules)
    packages = {name.partition(".")[0] for name in known}

    def files() -> dict[str, Path]:
        new = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name not in known}
        own = {name: Path(file) for name, file in new.items() if file and name.partition(".")[0] not in packages}
        return {name: file for name, file in own.items() if _is_inside(file, folder)}

    with on_path(folder):
        try:
            yield lambda: sorted(files().values())
        finally:
            for name in files():
                del sys.modules[name]


@contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Put a folder before all others in which Python looks for modules, in this block."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _is_inside(file: Path, folder: Path) -> bool:
    return file.is_relative_to(folder) and "site-packages" not in file.relative_to(folder).parts


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its own, whose name does not clash with other modules.

    Raises
    ------
    FileError
        If the file does not exist. The message suggests similar files of the folder.
    ModelCodeError
        If the file raises an error.
    """
    if not is_file(path):
        folder = path.parent
        names = [str(path.with_name(file.name)) for file in folder.glob("*.py")] if folder.is_dir() else []
        hint = suggest(str(path), names) if names else f"the folder {folder} contains no Python files"
        raise FileError(f"{path} does not exist; {hint}")
    name = f"{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise FileError(f"{path} is not a Python file; expected a name that ends in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with blaming(path, f"{path} cannot be imported"):
        spec.loader.exec_module(module)
    return module


def import_module(name: str) -> ModuleType:
    """Import a module by its dotted name, from the working folder or from installed packages.

    Raises
    ------
    UnknownModelError
        If there is no such module.
    ModelCodeError
        If the module raises an error.
    """
    with blaming(None, f"the module {name} cannot be imported"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise UnknownModelError(
                f"there is no module {error.name!r}, neither in the folder {Path.cwd()} nor among the installed"
                f" packages; expected `package.module:FUNCTION`, or a file such as `{name.replace('.', '/')}.py`"
            ) from None


def find_function(module: ModuleType, function: str, where: str) -> Any:
    """Return a function, class or model of a module by its name.

    Raises
    ------
    UnknownModelError
        If the module does not have the name. The message lists its functions and classes.
    """
    if function and hasattr(module, function):
        return getattr(module, function)
    public = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    own = [name for name, value in public.items() if getattr(value, "__module__", None) == module.__name__]
    if not function:
        listed = f"Its functions and classes: {', '.join(own or public) or 'none'}"
        raise UnknownModelError(f"{where} names no function; expected `{where}:FUNCTION`. {listed}")
    raise UnknownModelError(f"{where} has no function {function!r}; {suggest(function, own or public)}")


@contextmanager
def blaming(path: Path | None, problem: str) -> Iterator[None]:
    """Turn an error of the user's code into a `ModelCodeError` that names the file and line.

    Parameters
    ----------
    path
        The user's file. The line is the last line of the traceback in its folder, or else the last line.
    problem
        The failed operation, for the message.
    """
    try:
        yield
    except (FileError, UnknownModelError):
        raise
    except (Exception, SystemExit) as error:
        raise ModelCodeError(f"{problem}: {type(error).__name__}: {error} ({_line(error, path)})") from error


def _line(error: BaseException, path: Path | None) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)[1:] or traceback.extract_tb(error.__traceback__)
    folder = None if path is None else path.resolve().parent
    own = [frame for frame in frames if folder is not None and Path(frame.filename).is_relative_to(folder)]
    frame = (own or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"
