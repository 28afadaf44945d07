; Pareto Studio: installs for this user, without administrator rights.
Unicode true
Target amd64-unicode
!include "MUI2.nsh"
!include "FileFunc.nsh"
!define NAME "Pareto Studio"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\ParetoStudio"
!define TYPE "ParetoStudio.Package"
@FROZEN@
@SIGN_UNINSTALLER@
!ifdef FROZEN
    !define PROGRAM "$INSTDIR\window\pareto-studio.exe"
    !define ARGUMENTS ""
!else
    !define PROGRAM "$INSTDIR\window\Scripts\pythonw.exe"
    !define ARGUMENTS "-P -m studio.ui.bundled"
!endif

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

!define MUI_ICON "@ICON@"
!define MUI_UNICON "@ICON@"
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

!macro OPENS_PACKAGES
    WriteRegStr HKCU "Software\Classes\${TYPE}\shell\open\command" "" '"${PROGRAM}" ${ARGUMENTS} "%1"'
!macroend

Section "-files"
    SectionIn RO
    AddSize @KIB@
    AddSize @MORE_KIB@
    ClearErrors
    SetOutPath "$INSTDIR"
    IfErrors 0 +3
        MessageBox MB_OK|MB_ICONSTOP "$INSTDIR cannot be written; choose another folder." /SD IDOK
        Abort
    RMDir /r "$INSTDIR\wheels"
    RMDir /r "$INSTDIR\backend"
    !ifdef FROZEN
        RMDir /r "$INSTDIR\window"
    !endif
    File /r "@FILES@"
    WriteRegStr HKCU "Software\Pareto Studio" "Folder" "$INSTDIR"
    WriteRegStr HKCU "Software\Classes\.pareto" "" "${TYPE}"
    WriteRegStr HKCU "Software\Classes\${TYPE}" "" "Pareto Studio package"
    WriteRegStr HKCU "Software\Classes\${TYPE}\DefaultIcon" "" "$INSTDIR\pareto-studio.ico"
    !ifdef FROZEN
        !insertmacro OPENS_PACKAGES
        CreateShortcut "$SMPROGRAMS\${NAME}.lnk" "${PROGRAM}" "" "$INSTDIR\pareto-studio.ico"
    !else
        ; A shortcut to a program that is not there would be dead: until there is a window, the menu's entry makes
        ; it, and make-window.cmd then puts this one in its place.
        CreateShortcut "$INSTDIR\${NAME}.lnk" "${PROGRAM}" "${ARGUMENTS}" "$INSTDIR\pareto-studio.ico"
        DetailPrint "Making the window's environment ..."
        nsExec::ExecToLog '"$SYSDIR\cmd.exe" /c ""$INSTDIR\make-window.cmd""'
        Pop $0
        ${If} $0 == 0
            !insertmacro OPENS_PACKAGES
            CopyFiles /SILENT "$INSTDIR\${NAME}.lnk" "$SMPROGRAMS"
        ${Else}
            CreateShortcut "$SMPROGRAMS\${NAME}.lnk" "$SYSDIR\cmd.exe" '/c ""$INSTDIR\make-window.cmd" repair"' "$INSTDIR\pareto-studio.ico"
            MessageBox MB_OK|MB_ICONEXCLAMATION "The window's environment could not be made. Connect to the network (Python 3.12 is fetched once), see that the disk is not full, and open ${NAME} from the Start menu: it goes on from here." /SD IDOK
        ${EndIf}
    !endif
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
    !ifdef FROZEN
        nsExec::ExecToLog '"$INSTDIR\window\pareto-studio-console.exe" setup --remove'
    !else
        nsExec::ExecToLog '"$INSTDIR\window\Scripts\python.exe" -P -m studio.setup --remove'
    !endif
    Pop $0
    RMDir /r "$INSTDIR\wheels"
    RMDir /r "$INSTDIR\backend"
    RMDir /r "$INSTDIR\window"
    RMDir /r "$INSTDIR\python"
    RMDir /r "$INSTDIR\downloads"
    Delete "$INSTDIR\${NAME}.lnk"
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
