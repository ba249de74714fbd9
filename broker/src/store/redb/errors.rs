//! What the database's errors mean.

use ::redb::Error;

use crate::store::StoreError;

/// Tells an error of the medium from damage.
pub(super) fn failed(error: impl Into<Error>) -> StoreError {
    // The enum may grow; what is not known here is none of the medium's refusals.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other errors mean a file that is not as it was written"
    )]
    match error.into() {
        Error::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Damaged(error.to_string())
        }
        Error::Io(error) => StoreError::Io(error.to_string()),
        Error::PreviousIo => StoreError::Io("an earlier write failed".into()),
        Error::DatabaseClosed => StoreError::Io("it is being opened again".into()),
        error => StoreError::Damaged(error.to_string()),
    }
}
