//! SQLite's failures as [`StoreError`]s.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::StoreError;

/// Extended code of a write-ahead index that could not grow; no other cause is known than a full device.
const IOERR_SHMSIZE: i32 = 4874;
/// Extended code of a file that ends before a page that it must hold.
const IOERR_SHORT_READ: i32 = 522;

/// What `e` is to whoever asked for the file at `path`.
pub(super) fn sqlite(path: &Path, e: &rusqlite::Error) -> StoreError {
    let detail = e.to_string();
    let path = path.display().to_string();
    match e {
        rusqlite::Error::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
            (ErrorCode::DiskFull, _) | (_, IOERR_SHMSIZE) => StoreError::Full { path },
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) | (_, IOERR_SHORT_READ) => {
                StoreError::Corrupt { what: path, detail }
            }
            _ => StoreError::Io { path, detail },
        },
        // The statements are fixed, so a missing row, table or type is the file's fault.
        _ => StoreError::Corrupt { what: path, detail },
    }
}
