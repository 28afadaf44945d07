; Pareto Studio: installs for this user, without administrator rights.
Unicode true
Target amd64-unicode
!include "MUI2.nsh"
!include "FileFunc.nsh"
!define NAME "Pareto Studio"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\ParetoStudio"
!define TYPE "ParetoStudio.Package"

Name "${NAME}"
OutFile "@OUT@"
InstallDir "$LOCALAPPDATA\Programs\Pareto Studio"
InstallDirRegKey HKCU "Software\Pareto Studio" "Folder"
RequestExecutionLevel user
SetCompressor /FINAL zlib
CRCCheck force
SetDateSave off
ManifestDPIAware true
ManifestLongPathAware true
VIProductVersion "@VERSION@.0"
VIAddVersionKey "ProductName" "${NAME}"
VIAddVersionKey "FileDescription" "${NAME} installer"
VIAddVersionKey "FileVersion" "@VERSION@"
VIAddVersionKey "ProductVersion" "@VERSION@"
VIAddVersionKey "LegalCopyright" "Apache-2.0"

!define MUI_ICON "@TREE@/pareto-studio.ico"
!define MUI_UNICON "@TREE@/pareto-studio.ico"
!define MUI_FINISHPAGE_RUN
!define MUI_FINISHPAGE_RUN_TEXT "Open ${NAME}"
!define MUI_FINISHPAGE_RUN_FUNCTION OpenIt
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE "English"

Function .onInit
    ; Two installs at once would write the same files.
    System::Call 'kernel32::CreateMutex(p 0, i 0, t "ParetoStudioInstaller") p .r1 ?e'
    Pop $0
    ${If} $0 = 183
        MessageBox MB_OK|MB_ICONEXCLAMATION "${NAME} is being installed already; wait until that has finished." /SD IDOK
        Abort
    ${EndIf}
FunctionEnd

Function OpenIt
    ExecShell "" "$SMPROGRAMS\${NAME}.lnk"
FunctionEnd

Section "-files"
    SectionIn RO
    AddSize @KIB@
    ClearErrors
    SetOutPath "$INSTDIR"
    IfErrors 0 +3
        MessageBox MB_OK|MB_ICONSTOP "$INSTDIR cannot be written; choose another folder." /SD IDOK
        Abort
    RMDir /r "$INSTDIR\wheels"
    RMDir /r "$INSTDIR\backend"
    File /r "@TREE@/*.*"
    DetailPrint "Making the window's environment ..."
    nsExec::ExecToLog '"$SYSDIR\cmd.exe" /c ""$INSTDIR\make-window.cmd""'
    Pop $0
    ${If} $0 != 0
        MessageBox MB_OK|MB_ICONEXCLAMATION "The window's environment could not be made; connect to the network or install Python 3.12, then run this installer again." /SD IDOK
    ${EndIf}

    CreateShortcut "$SMPROGRAMS\${NAME}.lnk" "$INSTDIR\window\Scripts\pythonw.exe" "-m studio.ui.bundled" "$INSTDIR\pareto-studio.ico"
    WriteRegStr HKCU "Software\Pareto Studio" "Folder" "$INSTDIR"
    WriteRegStr HKCU "Software\Classes\.pareto" "" "${TYPE}"
    WriteRegStr HKCU "Software\Classes\${TYPE}" "" "Pareto Studio package"
    WriteRegStr HKCU "Software\Classes\${TYPE}\DefaultIcon" "" "$INSTDIR\pareto-studio.ico"
    WriteRegStr HKCU "Software\Classes\${TYPE}\shell\open\command" "" '"$INSTDIR\window\Scripts\pythonw.exe" -m studio.ui.bundled "%1"'
    WriteUninstaller "$INSTDIR\uninstall.exe"
    WriteRegStr HKCU "${KEY}" "DisplayName" "${NAME}"
    WriteRegStr HKCU "${KEY}" "DisplayVersion" "@VERSION@"
    WriteRegStr HKCU "${KEY}" "DisplayIcon" "$INSTDIR\pareto-studio.ico"
    WriteRegStr HKCU "${KEY}" "InstallLocation" "$INSTDIR"
    WriteRegStr HKCU "${KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
    WriteRegStr HKCU "${KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
    WriteRegDWORD HKCU "${KEY}" "NoModify" 1
    WriteRegDWORD HKCU "${KEY}" "NoRepair" 1
    WriteRegDWORD HKCU "${KEY}" "EstimatedSize" @KIB@
SectionEnd

Section "Uninstall"
    ; The engines go with the program; runs are the user's.
    nsExec::ExecToLog '"$INSTDIR\window\Scripts\python.exe" -m studio.setup --remove'
    Pop $0
    RMDir /r "$INSTDIR\wheels"
    RMDir /r "$INSTDIR\backend"
    RMDir /r "$INSTDIR\window"
    RMDir /r "$INSTDIR\python"
    RMDir /r "$INSTDIR\downloads"
    Delete "$INSTDIR\window.lock"
    Delete "$INSTDIR\make-window.cmd"
    Delete "$INSTDIR\pareto-studio.ico"
    Delete "$INSTDIR\LICENSE.txt"
    Delete "$INSTDIR\uninstall.exe"
    RMDir "$INSTDIR"
    Delete "$SMPROGRAMS\${NAME}.lnk"
    DeleteRegKey HKCU "${KEY}"
    DeleteRegKey HKCU "Software\Pareto Studio"
    DeleteRegKey HKCU "Software\Classes\${TYPE}"
    DeleteRegKey HKCU "Software\Classes\.pareto"
SectionEnd
