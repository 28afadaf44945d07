@echo off
rem Sets everything up and opens Pareto Studio (Windows).
setlocal
cd /d "%~dp0"
set "UV=uv"
where uv >nul 2>nul || set "UV=.uv\Scripts\uv"
if not exist .venv\Scripts\python.exe (
    if not "%UV%"=="uv" (
        py -3.12 -m venv .uv || py -3.11 -m venv .uv || (
            echo Pareto Studio needs Python 3.11, 3.12 or 3.13 from python.org.
            exit /b 1
        )
        .uv\Scripts\python -m pip install --quiet uv || exit /b 1
    )
)
if not exist .venv\pareto-studio.stamp (
    if not exist .venv\Scripts\python.exe %UV% venv --quiet --python 3.12 .venv || exit /b 1
    %UV% pip sync --python .venv --require-hashes packaging\requirements.lock || exit /b 1
    %UV% pip install --quiet --python .venv --no-deps --no-build-isolation --editable . || exit /b 1
    echo ready> .venv\pareto-studio.stamp
)
.venv\Scripts\python -m studio %*
