@echo off
rem Makes the window's own environment from the wheels beside this file; only Python itself may be fetched.
setlocal
chcp 65001 >nul
cd /d "%~dp0"
set "UV_CACHE_DIR=%~dp0downloads"
set "UV_PYTHON_INSTALL_DIR=%~dp0python"
set "PYTHONPATH="
set "VIRTUAL_ENV="
echo Making the window's environment ...
backend\uv.exe venv --quiet --no-project --clear --python 3.12 window || goto failed
backend\uv.exe pip install --quiet --python window\Scripts\python.exe --offline --no-index --find-links wheels --require-hashes --no-deps -r window.lock || goto failed
backend\uv.exe pip install --quiet --python window\Scripts\python.exe --offline --no-deps backend\@WHEEL@ || goto failed
window\Scripts\python.exe -I -c "import studio.ui.bundled, studio.ui.window" || goto failed
rd /s /q downloads 2>nul
echo Ready.
exit /b 0
:failed
echo The window's environment could not be made. Connect to the network (Python 3.12 is fetched once) or install Python 3.12, then start Pareto Studio again.
exit /b 1
