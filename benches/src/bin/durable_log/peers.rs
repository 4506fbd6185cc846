//! What else could keep the entries: PostgreSQL, and Go's reference tile log. Each is started for the measurement alone, in a
//! folder of its own, and passed over where it is not installed.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{ENTRY_BYTES, Figures, Rows, seconds};

/// Entries that PostgreSQL is given in bulk, and from clients; and a statement's rows.
const BULK_ROWS: usize = 200_000;
const CLIENT_ROWS: usize = 1000;
const CLIENTS: usize = 16;
const STATEMENT_ROWS: usize = 1000;
/// Entries that Go's log is given, and between two of its syncs.
const GO_ENTRIES: usize = 200_000;

/// Tessera's POSIX driver, which is not to be had here: entries/s and the median wait in ms with as many entries outstanding as
/// [`super::SENDERS`], and entries/s with 2,048.
const TESSERA: (f64, f64, f64) = (24_000.0, 10.0, 30_000.0);

/// Prints a stored figure beside ours, and says so.
pub(super) fn tessera(senders: f64, median_ms: f64) {
    let (rate, wait_ms, most) = TESSERA;
    println!(
        "\nTessera's POSIX driver was not run: its figures are stored ones, measured on 2026-11-23 on the same kind of machine \
         (256 outstanding: {rate:.0} entries/s, p50 {wait_ms:.0} ms; 2,048 outstanding: {most:.0} entries/s), so these ratios are \
         rough.\n"
    );
    println!("| | | |\n|---|---|---|");
    println!("| 256 senders / Tessera, 256 outstanding (stored) | {:.1} × | (target 10) |", senders / rate);
    println!("| 256 senders / Tessera, 2,048 outstanding (stored) | {:.1} × | |", senders / most);
    println!("| Tessera's p50 (stored) / 256 senders' | {:.1} × | (target above 1) |", wait_ms / median_ms);
}

/// Measures what is installed and prints its rows.
pub(super) fn measure(rows: &Rows, place: &Path, bulk: f64, senders: f64) {
    match postgres(rows, place) {
        Ok((many, clients)) => {
            println!("| bulk / PostgreSQL | {:.1} × | |", bulk / many);
            println!("| 256 senders / PostgreSQL, {CLIENTS} clients | {:.1} × | |", senders / clients);
        }
        Err(why) => println!("PostgreSQL is passed over: {why}"),
    }
    match go(rows, place) {
        Ok(go) => println!("| bulk / Go's tile log | {:.1} × | |", bulk / go),
        Err(why) => println!("Go's tile log is passed over: {why}"),
    }
}

fn done(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// A cluster that lives as long as this.
struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Cluster {
    fn start(place: &Path) -> Result<Self, String> {
        let bin = fs::read_dir("/usr/lib/postgresql")
            .ok()
            .and_then(|versions| versions.flatten().map(|v| v.path().join("bin")).max())
            .filter(|bin| bin.join("initdb").is_file())
            .ok_or("it is not installed")?;
        let temporary = tempfile::tempdir_in(place).map_err(|e| e.to_string())?;
        let folder = temporary.path().to_owned();
        let cluster = Self { bin, folder, _temporary: temporary };
        // The server does not run as root.
        done(Command::new("chown").arg("postgres").arg(&cluster.folder))?;
        let data = cluster.folder.join("data");
        done(cluster.as_postgres("initdb").args(["-A", "trust", "-D"]).arg(&data))?;
        let options = format!("-c listen_addresses= -k {}", cluster.folder.display());
        let log = cluster.folder.join("server.log");
        let mut start = cluster.as_postgres("pg_ctl");
        start.args(["-w", "-D"]).arg(&data).arg("-l").arg(log).args(["-o", &options, "start"]);
        // The server keeps its standard output: it must not be waited for.
        let status = start.stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(|e| e.to_string())?;
        if !status.success() {
            return Err("its server does not start".to_owned());
        }
        cluster.run("create table entries (id bigserial primary key, entry text not null);\n")?;
        Ok(cluster)
    }

    fn as_postgres(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(self.bin.join(program));
        command.current_dir(&self.folder);
        command
    }

    /// Runs a script in one session.
    fn run(&self, script: &str) -> Result<(), String> {
        let mut psql = self.as_postgres("psql");
        psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-h"]).arg(&self.folder);
        let mut child =
            psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        child.stdin.take().ok_or("no pipe")?.write_all(script.as_bytes()).map_err(|e| e.to_string())?;
        if child.wait().map_err(|e| e.to_string())?.success() {
            Ok(())
        } else {
            Err("psql failed".to_owned())
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        let _ = done(self.as_postgres("pg_ctl").args(["-m", "immediate", "-D"]).arg(data).arg("stop"));
    }
}

/// Rows per second in statements of many, and one a transaction from several clients.
fn postgres(rows: &Rows, place: &Path) -> Result<(f64, f64), String> {
    let cluster = &Cluster::start(place)?;
    let entries: Vec<&str> = rows
        .entries
        .chunks_exact(ENTRY_BYTES)
        .take(BULK_ROWS)
        .map(|entry| std::str::from_utf8(entry).map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    let insert = |some: &[&str]| format!("insert into entries (entry) values ('{}');\n", some.join("'),('"));
    let script: String = entries.chunks(STATEMENT_ROWS).map(insert).collect();
    let mut failed = Ok(());
    let mut many = Figures::default();
    many.add(entries.len(), seconds(|| failed = cluster.run(&script)));
    failed?;
    let scripts: Vec<String> = (0..CLIENTS)
        .map(|n| entries.iter().skip(n).take(CLIENT_ROWS).map(|entry| insert(&[*entry])).collect())
        .collect();
    let mut clients = Figures::default();
    let mut results = Vec::new();
    let time = seconds(|| {
        results = std::thread::scope(|scope| {
            let running: Vec<_> =
                scripts.into_iter().map(|script| scope.spawn(move || cluster.run(&script))).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or(Err("a panic".to_owned()))).collect()
        });
    });
    results.into_iter().collect::<Result<Vec<()>, String>>()?;
    clients.add(CLIENTS * CLIENT_ROWS, time);
    Ok((
        many.row("PostgreSQL, 1,000 rows a statement", "rows/s"),
        clients.row("PostgreSQL, 16 clients, a row a transaction", "rows/s"),
    ))
}

/// A program around the library: for each batch the stored hashes, then every new tile and bundle in a file of its own, synced, and
/// last the root in a checkpoint that is synced and renamed.
const PROGRAM: &str = r#"package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

type hashes []tlog.Hash

func (h *hashes) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = (*h)[n]
	}
	return out, nil
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(path string, bytes []byte) {
	check(os.MkdirAll(filepath.Dir(path), 0o700))
	file, err := os.Create(path)
	check(err)
	_, err = file.Write(bytes)
	check(err)
	check(file.Sync())
	check(file.Close())
}

func main() {
	size, _ := strconv.Atoi(os.Args[2])
	batch, _ := strconv.Atoi(os.Args[3])
	input, err := os.Open(os.Args[1])
	check(err)
	reader := bufio.NewReaderSize(input, 1<<20)
	all, err := io.ReadAll(reader)
	check(err)
	count := len(all) / size
	stored := make(hashes, 0, 2*count+64)
	begun := time.Now()
	for from := 0; from < count; from += batch {
		to := from + batch
		if to > count {
			to = count
		}
		for n := from; n < to; n++ {
			more, err := tlog.StoredHashes(int64(n), all[n*size:(n+1)*size], &stored)
			check(err)
			stored = append(stored, more...)
		}
		for _, tile := range tlog.NewTiles(8, int64(from), int64(to)) {
			data, err := tlog.ReadTileData(tile, &stored)
			check(err)
			write(tile.Path(), data)
			if tile.L == 0 {
				first := int(tile.N) * 256 * size
				bundle := tile
				bundle.L = -1
				write(bundle.Path(), all[first:first+tile.W*size])
			}
		}
		root, err := tlog.TreeHash(int64(to), &stored)
		check(err)
		write("checkpoint.new", []byte(fmt.Sprintf("%d %v\n", to, root)))
		check(os.Rename("checkpoint.new", "checkpoint"))
	}
	fmt.Println(float64(count) / time.Since(begun).Seconds())
}
"#;

/// Entries per second of Go's log.
fn go(rows: &Rows, place: &Path) -> Result<f64, String> {
    const LIBRARY: &str = "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog";
    if !Path::new(LIBRARY).is_dir() {
        return Err("golang.org/x/mod is not installed".to_owned());
    }
    let folder = tempfile::tempdir_in(place).map_err(|e| e.to_string())?;
    let at = |name: &str| folder.path().join(name);
    fs::write(at("main.go"), PROGRAM).map_err(|e| e.to_string())?;
    let bytes = &rows.entries[..rows.entries.len().min(GO_ENTRIES * ENTRY_BYTES)];
    fs::write(at("entries"), bytes).map_err(|e| e.to_string())?;
    let mut build = Command::new("go");
    build.args(["build", "-o", "peer", "main.go"]).current_dir(folder.path());
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOCACHE", at("cache"));
    done(&mut build)?;
    let mut run = Command::new(at("peer"));
    let batch = super::SYNC_BYTES / ENTRY_BYTES;
    run.arg("entries").arg(ENTRY_BYTES.to_string()).arg(batch.to_string()).current_dir(folder.path());
    let rate: f64 = done(&mut run)?.trim().parse().map_err(|_| "it printed no figure".to_owned())?;
    Ok(Figures(vec![rate]).row("Go's reference tile log, bulk", "entries/s"))
}
