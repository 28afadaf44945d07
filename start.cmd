@echo off
rem Sets everything up and opens Pareto Studio (Windows). No labels: they are lost where lines end as on Unix.
setlocal
cd /d "%~dp0"
set "UV=uv"
where uv >nul 2>nul || set "UV=.uv\Scripts\uv"
set "READY="
if exist .venv\Scripts\python.exe fc /b packaging\requirements.lock .venv\installed.lock >nul 2>nul && fc /b pyproject.toml .venv\installed.toml >nul 2>nul && set "READY=yes"
if not defined READY (
    if "%UV%"==".uv\Scripts\uv" if not exist .uv\Scripts\uv.exe (
        echo Getting uv, which installs everything else ...
        py -3.12 -m venv .uv 2>nul || py -3.11 -m venv .uv 2>nul || py -3.13 -m venv .uv 2>nul || (
            echo Pareto Studio needs Python 3.11, 3.12 or 3.13 from python.org; none was found.
            exit /b 1
        )
        .uv\Scripts\python -m pip install --quiet --disable-pip-version-check uv || (
            echo uv could not be downloaded; check the network connection and run this again.
            exit /b 1
        )
    )
    echo Setting up .venv: several GB the first time ...
    if not exist .venv\Scripts\python.exe (
        if exist .venv rmdir /s /q .venv
        %UV% venv --quiet --python ">=3.11,<3.14" .venv || exit /b 1
    )
    %UV% pip sync --python .venv --require-hashes packaging\requirements.lock || %UV% pip sync --system-certs --python .venv --require-hashes packaging\requirements.lock || (
        echo The packages could not be installed; see the lines above, then run this again: it goes on where it stopped.
        exit /b 1
    )
    %UV% pip install --quiet --python .venv --no-deps --no-build-isolation --editable . || (
        echo Pareto Studio itself could not be installed into .venv; see the lines above.
        exit /b 1
    )
    copy /y packaging\requirements.lock .venv\installed.lock >nul
    copy /y pyproject.toml .venv\installed.toml >nul
)
.venv\Scripts\python -m studio %*
