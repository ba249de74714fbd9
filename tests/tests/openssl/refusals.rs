//! What is refused, and by which alert.

use anyhow::{Result, ensure};

use crate::Setting;

/// Dials, and returns what the client says when it has failed.
async fn fails(setting: &Setting, options: &[&str]) -> Result<String> {
    let (status, said) = setting.dial(options)?.ended().await?;
    ensure!(!status.success(), "{options:?}: it did not fail: {said}");
    Ok(said)
}

#[tokio::test]
async fn old_versions_are_refused() -> Result<()> {
    let setting = Setting::new().await?;
    for version in ["-tls1", "-tls1_1"] {
        // Otherwise the client itself would refuse to offer them.
        let said = fails(&setting, &[version, "-cipher", "DEFAULT@SECLEVEL=0"]).await?;
        // It names no signature algorithms, and that is seen before its version.
        ensure!(said.contains("alert handshake failure"), "{version}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn unknown_protocols_are_refused() -> Result<()> {
    let setting = Setting::new().await?;
    for version in ["-tls1_2", "-tls1_3"] {
        let said = fails(&setting, &[version, "-alpn", "imap,pop3"]).await?;
        ensure!(said.contains("alert no application protocol"), "{version}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_in_common_is_refused() -> Result<()> {
    let setting = Setting::new().await?;
    for options in [&["-tls1_2", "-cipher", "AES128-SHA"][..], &["-tls1_3", "-groups", "P-521"]] {
        let said = fails(&setting, options).await?;
        ensure!(said.contains("alert handshake failure"), "{options:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn renegotiation_is_refused() -> Result<()> {
    let setting = Setting::new().await?;
    let mut client = setting.dial(&["-tls1_2", "-legacy_renegotiation"])?;
    setting.enter(&mut client).await?;
    client.command("R", "RENEGOTIATING").await?;
    let (status, said) = client.ended().await?;
    ensure!(!status.success() && said.contains("no renegotiation"), "{status} {said}");
    Ok(())
}
