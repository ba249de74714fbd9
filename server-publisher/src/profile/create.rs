//! A new profile's file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use wakemq_protocol::http::Profile;

use super::ProfileError;

/// The place of a profile that is not written yet.
///
/// It is made before an operator is asked for, whose secret is told once. Unless it is
/// [written](Self::write), it is removed again.
#[derive(Debug)]
pub struct NewProfile {
    path: PathBuf,
    /// `None` once it was written, or could not be removed.
    file: Option<File>,
}

impl NewProfile {
    /// Makes an empty file, mode 0600; one that exists is left as it is.
    pub fn create(path: &Path) -> Result<Self, ProfileError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        super::system::private(&mut options);
        let file = options.open(path).map_err(|source| {
            if source.kind() == std::io::ErrorKind::AlreadyExists {
                ProfileError::Exists(path.into())
            } else {
                ProfileError::Write { path: path.into(), source }
            }
        })?;
        Ok(Self { path: path.into(), file: Some(file) })
    }

    /// Writes the profile, and waits until it is on the disk.
    pub fn write(mut self, profile: &Profile) -> Result<(), ProfileError> {
        let text = toml::to_string(profile)
            .map_err(|error| ProfileError::Invalid { path: self.path.clone(), why: error.to_string() })?;
        let text = format!(
            "# An operator's profile: for `wakemq --profile FILE`, or WAKEMQ_PROFILE. Whoever can read it is that \
             operator.\n{text}"
        );
        if let Some(file) = &mut self.file {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(|source| ProfileError::Write { path: self.path.clone(), source })?;
        }
        self.file = None;
        Ok(())
    }
}

impl Drop for NewProfile {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "a profile without content is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_profile;
    use wakemq_protocol::{Secret, SecretKind};

    #[test]
    fn a_profile_is_written_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helpdesk.toml");
        let profile = Profile {
            operator: "helpdesk".parse().unwrap(),
            secret: Secret::from_random(SecretKind::Operator, &[7; 32]),
            endpoints: vec!["broker:8883".into()],
            ca: Some("-----BEGIN CERTIFICATE-----\n".into()),
        };
        drop(NewProfile::create(&path).unwrap());
        assert!(!path.exists(), "what was not written is not left");
        NewProfile::create(&path).unwrap().write(&profile).unwrap();
        // Reading refuses what others could read too.
        assert_eq!(load_profile(&path).unwrap(), profile);
        assert!(matches!(NewProfile::create(&path), Err(ProfileError::Exists(_))));
        assert_eq!(load_profile(&path).unwrap(), profile);
    }
}
