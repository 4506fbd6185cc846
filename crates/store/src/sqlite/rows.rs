//! Reading and checking the rows of a journal's file. Whatever is not as it was written is [`StoreError::Corrupt`], by name.

use std::{ops::ControlFlow, path::Path};

use grace_types::{evidence::JournalId, time::Timestamp};
use rusqlite::{Connection, Row, params};

use super::{error, head};
use crate::{Digest, Epoch, Record, Seq, SnapshotInfo, StoreError, chain};

/// The end of the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) seq: Seq,
    pub(super) digest: Digest,
}

/// The journal's own numbers, checked against their guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) epoch: Epoch,
    pub(super) base: Head,
}

pub(super) fn read_meta(path: &Path, connection: &Connection) -> Result<Meta, StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let mut select = connection
        .prepare_cached("SELECT epoch, base, base_digest, guard FROM meta WHERE id = 0")
        .map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    let what = || format!("{}, table meta", path.display());
    let row = rows
        .next()
        .map_err(failed)?
        .ok_or_else(|| StoreError::Corrupt { what: what(), detail: "its row is missing".to_owned() })?;
    let epoch = Epoch(integer(path, row, 0)?);
    let base = Head { seq: Seq(integer(path, row, 1)?), digest: digest_of(path, row, 2)? };
    if digest_of(path, row, 3)? != chain::guard(epoch.0, base.seq, base.digest) {
        return Err(StoreError::Corrupt { what: what(), detail: "its digest does not match".to_owned() });
    }
    Ok(Meta { epoch, base })
}

/// Writes the numbers and their guard; `opened` is kept when it is `None`.
pub(super) fn write_meta(
    connection: &Connection,
    meta: Meta,
    opened: Option<Timestamp>,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO meta VALUES (0, ?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO UPDATE SET epoch = ?1,
           opened_nanos = coalesce(nullif(?2, -1), opened_nanos), base = ?3, base_digest = ?4, guard = ?5",
        params![
            meta.epoch.0.cast_signed(),
            opened.map_or(-1, |t| t.as_nanos().cast_signed()),
            meta.base.seq.0.cast_signed(),
            meta.base.digest.0.as_slice(),
            chain::guard(meta.epoch.0, meta.base.seq, meta.base.digest).0.as_slice()
        ],
    )?;
    Ok(())
}

/// The journal's id; `None` in a journal that no writer has opened since journals have one.
pub(super) fn read_id(path: &Path, connection: &Connection) -> Result<Option<JournalId>, StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    if !connection.table_exists(None, "identity").map_err(failed)? {
        return Ok(None);
    }
    let mut select =
        connection.prepare_cached("SELECT journal, guard FROM identity WHERE id = 0").map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    let corrupt = |detail: &str| StoreError::Corrupt {
        what: format!("{}, table identity", path.display()),
        detail: detail.to_owned(),
    };
    let row = rows.next().map_err(failed)?.ok_or_else(|| corrupt("its row is missing"))?;
    let id = integer(path, row, 0)?;
    if digest_of(path, row, 1)? != chain::name(id) {
        return Err(corrupt("its digest does not match"));
    }
    Ok(Some(JournalId(id)))
}

/// Names the journal. Its table came later than the others, and a program that does not know it can still use the file.
pub(super) fn write_id(connection: &Connection, id: JournalId) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE identity (
           id INTEGER PRIMARY KEY CHECK (id = 0), journal INTEGER NOT NULL, guard BLOB NOT NULL
         ) STRICT;",
    )?;
    connection.execute(
        "INSERT INTO identity VALUES (0, ?1, ?2)",
        params![id.0.cast_signed(), chain::name(id.0).0.as_slice()],
    )?;
    Ok(())
}

pub(super) fn read_head(path: &Path, connection: &Connection, base: Head) -> Result<Head, StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let mut select = connection
        .prepare_cached("SELECT seq, digest FROM records ORDER BY seq DESC LIMIT 1")
        .map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        Some(row) => Ok(Head { seq: Seq(integer(path, row, 0)?), digest: digest_of(path, row, 1)? }),
        None => Ok(base),
    }
}

/// The chain's digest just before `from`; position 0 counts as the truncation point.
pub(super) fn chain_before(
    path: &Path,
    connection: &Connection,
    meta: Meta,
    from: Seq,
) -> Result<Head, StoreError> {
    let before = Seq(from.0.saturating_sub(1));
    if before < meta.base.seq {
        let detail = format!("records up to {} have been truncated", meta.base.seq.0);
        return Err(StoreError::Range { seq: from, detail });
    }
    if before == meta.base.seq {
        return Ok(meta.base);
    }
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let mut select =
        connection.prepare_cached("SELECT digest FROM records WHERE seq = ?1").map_err(failed)?;
    let mut rows = select.query([before.0.cast_signed()]).map_err(failed)?;
    match rows.next().map_err(failed)? {
        Some(row) => Ok(Head { seq: before, digest: digest_of(path, row, 0)? }),
        None => Err(record_corrupt(path, before, "missing".to_owned())),
    }
}

/// Visits the records after `at`, each checked against the chain, and moves `at` to the last one that was visited.
pub(super) fn walk(
    path: &Path,
    connection: &Connection,
    at: &mut Head,
    visit: &mut dyn FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let mut select = connection
        .prepare_cached("SELECT seq, payload, digest FROM records WHERE seq > ?1 ORDER BY seq")
        .map_err(failed)?;
    let mut rows = select.query([at.seq.0.cast_signed()]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let seq = Seq(at.seq.0 + 1);
        let found: u64 = integer(path, row, 0)?;
        if found != seq.0 {
            return Err(record_corrupt(path, seq, format!("the next record in the file is {found}")));
        }
        let payload = blob(path, row, 1)?;
        let digest = chain::link(at.digest, seq, payload);
        if blob(path, row, 2)? != digest.0 {
            return Err(record_corrupt(path, seq, "its digest does not match".to_owned()));
        }
        *at = Head { seq, digest };
        if visit(Record { seq, payload }).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Compares what the file holds with what was acknowledged.
pub(super) fn check_acknowledged(
    path: &Path,
    connection: &Connection,
    meta: Meta,
    head: Head,
    acknowledged: Head,
) -> Result<(), StoreError> {
    if head.seq < acknowledged.seq {
        return Err(lost(path, acknowledged.seq, &format!("it ends at record {}", head.seq.0)));
    }
    if acknowledged.seq < meta.base.seq {
        return Ok(());
    }
    if chain_before(path, connection, meta, Seq(acknowledged.seq.0 + 1))?.digest != acknowledged.digest {
        let detail =
            "it is not the one that was acknowledged: this file is another journal's, or was rewritten";
        return Err(record_corrupt(path, acknowledged.seq, detail.to_owned()));
    }
    Ok(())
}

pub(super) fn lost(path: &Path, acknowledged: Seq, found: &str) -> StoreError {
    let detail = format!(
        "{found}, but record {} was acknowledged. Put back the file and its -wal, or remove {} to accept the loss",
        acknowledged.0,
        head::path_for(path).display()
    );
    StoreError::Corrupt { what: path.display().to_string(), detail }
}

pub(super) fn record_corrupt(path: &Path, seq: Seq, detail: String) -> StoreError {
    StoreError::Corrupt { what: format!("record {} of {}", seq.0, path.display()), detail }
}

/// Reads and checks what is known of a snapshot, from columns seq, size, digest, chain, seal.
pub(super) fn snapshot_info(path: &Path, row: &Row<'_>) -> Result<(SnapshotInfo, Digest), StoreError> {
    let info = SnapshotInfo {
        seq: Seq(integer(path, row, 0)?),
        size_bytes: integer(path, row, 1)?,
        digest: digest_of(path, row, 2)?,
    };
    let chain = digest_of(path, row, 3)?;
    if digest_of(path, row, 4)? != chain::seal(info.seq, info.size_bytes, info.digest, chain) {
        return Err(snapshot_corrupt(path, info.seq, "its seal does not match"));
    }
    Ok((info, chain))
}

pub(super) fn read_snapshot(path: &Path, connection: &Connection, seq: Seq) -> Result<Vec<u8>, StoreError> {
    let failed = |e: rusqlite::Error| error::sqlite(path, &e);
    let meta = read_meta(path, connection)?;
    let mut select = connection
        .prepare_cached("SELECT seq, size, digest, chain, seal, state FROM snapshots WHERE seq = ?1")
        .map_err(failed)?;
    let mut rows = select.query([seq.0.cast_signed()]).map_err(failed)?;
    let row = rows
        .next()
        .map_err(failed)?
        .ok_or_else(|| StoreError::Range { seq, detail: "there is no snapshot at it".to_owned() })?;
    let (info, chain) = snapshot_info(path, row)?;
    let state = blob(path, row, 5)?;
    if info.seq != seq || chain::digest(state) != info.digest {
        return Err(snapshot_corrupt(path, seq, "its digest does not match"));
    }
    if chain_before(path, connection, meta, Seq(seq.0 + 1))?.digest != chain {
        return Err(snapshot_corrupt(path, seq, "the records before it are not those that it was made from"));
    }
    Ok(state.to_vec())
}

pub(super) fn snapshot_corrupt(path: &Path, seq: Seq, detail: &str) -> StoreError {
    StoreError::Corrupt {
        what: format!("snapshot {} of {}", seq.0, path.display()),
        detail: detail.to_owned(),
    }
}

pub(super) fn integer(path: &Path, row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let value: i64 = row.get(column).map_err(|e| error::sqlite(path, &e))?;
    u64::try_from(value).map_err(|_| StoreError::Corrupt {
        what: path.display().to_string(),
        detail: format!("a number is negative: {value}"),
    })
}

pub(super) fn blob<'r>(path: &Path, row: &'r Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    let value = row.get_ref(column).map_err(|e| error::sqlite(path, &e))?;
    value.as_blob().map_err(|e| StoreError::Corrupt {
        what: path.display().to_string(),
        detail: format!("a value is not bytes: {e}"),
    })
}

pub(super) fn digest_of(path: &Path, row: &Row<'_>, column: usize) -> Result<Digest, StoreError> {
    let bytes = blob(path, row, column)?;
    bytes.try_into().map(Digest).map_err(|_| StoreError::Corrupt {
        what: path.display().to_string(),
        detail: format!("a digest has {} bytes instead of 32", bytes.len()),
    })
}
