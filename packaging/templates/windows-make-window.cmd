@echo off
rem Makes the window's own environment from the wheels beside this file; only Python itself may be fetched.
rem `repair`, as the Start menu's entry runs it while there is no window: then opens it, and the entry opens it too.
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
if not "%~1"=="repair" exit /b 0
copy /y "Pareto Studio.lnk" "%APPDATA%\Microsoft\Windows\Start Menu\Programs\" >nul
reg add "HKCU\Software\Classes\ParetoStudio.Package\shell\open\command" /f /ve /d "\"%~dp0window\Scripts\pythonw.exe\" -P -m studio.ui.bundled \"%%1\"" >nul
start "" window\Scripts\pythonw.exe -P -m studio.ui.bundled
exit /b 0
:failed
echo The window's environment could not be made. Connect to the network (Python 3.12 is fetched once) or install Python 3.12, see that the disk is not full, then open Pareto Studio from the Start menu again.
if "%~1"=="repair" pause
exit /b 1
