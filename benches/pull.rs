//! Compares a pull over loopback with a plain TCP copy of the same file, an `rsync` daemon and
//! `scp`: `cargo bench --bench pull`.
//!
//! All read a file, send it over TCP and write it to another file. The plain copy syncs it; the
//! pull also seals, opens and hashes it; `rsync` seals nothing and syncs with `--fsync`; `scp`
//! seals (AES-GCM, as the pull does) and does not sync. The result is the ratio. `PULL_MIB` sets
//! the file's size in MiB. If `rsync`, or `scp` with `sshd`, is not installed, the output says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that can't go on fails by a panic"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const PORT: u16 = 41_373;
const RUNS: usize = 5;

fn main() {
    let mib: usize = std::env::var("PULL_MIB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(256);
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(
        directory.join("key"),
        data_encoding::BASE64.encode(&[7; 32]),
    )
    .unwrap();
    fs::set_permissions(
        directory.join("key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    config(
        directory,
        "hub",
        "both",
        "[]",
        "offer: [{ name: f, path: offered }]",
    );
    config(
        directory,
        "node",
        "client",
        &format!("[\"127.0.0.1:{PORT}\"]"),
        "spread: 0s, accept: [{ name: f, path: taken }]",
    );
    fill(&directory.join("offered"), mib, 0);
    let _hub = Running::start(directory, "hub");
    let _node = Running::start(directory, "node");
    await_pull(directory);
    let others = [
        rsync(directory, &[]),
        rsync(directory, &["--fsync"]),
        scp(directory),
    ];
    // The first plain copy also replaces a file.
    fs::copy(directory.join("offered"), directory.join("copied")).unwrap();
    fs::copy(directory.join("offered"), directory.join("fetched")).unwrap();

    let mut plain = Duration::MAX;
    let mut pulled = Duration::MAX;
    let mut others_took = others.each_ref().map(|_| Duration::MAX);
    for run in 1..=RUNS {
        fill(&directory.join("offered"), mib, run as u8);
        warm(directory, mib);
        plain = plain.min(plain_copy(
            &directory.join("offered"),
            &directory.join("copied"),
        ));
        // Hashing on the server is not part of a pull: it is done once for all nodes.
        wait_until_served(directory, run as u8);
        warm(directory, mib);
        let began = SystemTime::now();
        let started = Instant::now();
        hereabouts(directory, "node", &["pull"]);
        let took = started.elapsed();
        // The node may have pulled the file by itself before.
        if fs::metadata(directory.join("node/taken"))
            .unwrap()
            .modified()
            .unwrap()
            > began
        {
            pulled = pulled.min(took);
        }
        assert!(same(
            &directory.join("offered"),
            &directory.join("node/taken")
        ));
        for (other, took) in others.iter().zip(&mut others_took) {
            if let Some(other) = other {
                warm(directory, mib);
                *took = (*took).min(other.copy(directory));
            }
        }
    }
    assert!(
        pulled < Duration::MAX,
        "the node pulled each file by itself"
    );
    let rate = |took: Duration| mib as f64 / took.as_secs_f64();
    println!("plain TCP copy   {:8.0} MiB/s", rate(plain));
    println!("pull             {:8.0} MiB/s", rate(pulled));
    println!(
        "ratio            {:8.2}   (target: at least 0.5)",
        plain.as_secs_f64() / pulled.as_secs_f64()
    );
    for ((name, other), took) in ["rsync daemon", "rsync --fsync", "scp"]
        .iter()
        .zip(&others)
        .zip(others_took)
    {
        match other {
            Some(_) => println!(
                "{name:16} {:8.0} MiB/s: the pull is {:.2} times as fast (target: more than 1)",
                rate(took),
                took.as_secs_f64() / pulled.as_secs_f64()
            ),
            None => println!("{name:16} is not installed"),
        }
    }
}

/// Another program that serves the file, and the command that fetches it.
struct Other {
    _server: Running,
    fetch: Vec<String>,
}

impl Other {
    /// Fetches the file into a new one, and returns how long that took.
    fn copy(&self, directory: &Path) -> Duration {
        // As in a pull, the file replaces an existing one.
        let target = directory.join("fetched");
        let started = Instant::now();
        let output = Command::new(&self.fetch[0])
            .args(&self.fetch[1..])
            .arg(&target)
            .output()
            .unwrap();
        let took = started.elapsed();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(same(&directory.join("offered"), &target));
        took
    }
}

fn there(program: &str) -> bool {
    Path::new(program).exists()
}

/// An `rsync` daemon on loopback, and its client with these options; `None` if it is not installed.
fn rsync(directory: &Path, options: &[&str]) -> Option<Other> {
    const PROGRAM: &str = "/usr/bin/rsync";
    if !there(PROGRAM) {
        return None;
    }
    let port = free_port();
    let config = directory.join("rsyncd.conf");
    let text = format!(
        "use chroot = no\n[bench]\npath = {}\nread only = yes\n",
        directory.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--daemon", "--no-detach", "--address=127.0.0.1"]);
    command
        .arg(format!("--port={port}"))
        .arg(format!("--config={}", config.display()));
    let server = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    await_port(port);
    let url = format!("rsync://127.0.0.1:{port}/bench/offered");
    let fetch = [
        &[PROGRAM, "--whole-file", "--ignore-times"],
        options,
        &[&url],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    Some(Other {
        _server: server,
        fetch,
    })
}

/// An `sshd` of this benchmark on loopback, with keys of its own; `None` if it or `scp` is not
/// installed.
fn scp(directory: &Path) -> Option<Other> {
    let daemon = "/usr/sbin/sshd";
    let client = "/usr/bin/scp";
    let keygen = "/usr/bin/ssh-keygen";
    if ![daemon, client, keygen].into_iter().all(there) {
        return None;
    }
    for key in ["host", "user"] {
        let made = Command::new(keygen)
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(directory.join(key))
            .status();
        assert!(made.unwrap().success());
    }
    // The directory for the daemon's privilege separation; it belongs to the system's `sshd`.
    fs::create_dir_all("/run/sshd").unwrap();
    let port = free_port();
    let config = directory.join("sshd_config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n\
         PidFile none\nSubsystem sftp internal-sftp\nCiphers aes256-gcm@openssh.com\n",
        directory.join("host").display(),
        directory.join("user.pub").display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(daemon);
    command.args(["-D", "-f"]).arg(&config);
    let server = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    await_port(port);
    let user = directory.join("user").display().to_string();
    let options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
    ];
    let mut fetch = vec![
        client.to_owned(),
        "-q".into(),
        "-P".into(),
        port.to_string(),
        "-i".into(),
        user,
    ];
    fetch.extend(
        options
            .iter()
            .flat_map(|option| ["-o".to_owned(), (*option).to_owned()]),
    );
    fetch.push(format!("127.0.0.1:{}", directory.join("offered").display()));
    Some(Other {
        _server: server,
        fetch,
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn await_port(port: u16) {
    for _ in 0..100 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("no program listens on {port}");
}

/// Whether two files have the same content, compared block by block.
fn same(one: &Path, other: &Path) -> bool {
    let mut one = File::open(one).unwrap();
    let mut other = File::open(other).unwrap();
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut a).unwrap();
        if read == 0 {
            return other.read(&mut b).unwrap() == 0;
        }
        if other.read_exact(&mut b[..read]).is_err() || a[..read] != b[..read] {
            return false;
        }
    }
}

fn config(directory: &Path, name: &str, role: &str, servers: &str, files: &str) {
    let port = if name == "hub" { PORT } else { PORT + 1 };
    let text = format!(
        "role: {role}\n\
         node: {{ name: {name}, state_dir: {name} }}\n\
         channel: {{ name: bench, keys: [{{ file: key }}] }}\n\
         listen: {{ address: 127.0.0.1, port: {port} }}\n\
         discovery: {{ methods: [], servers: {servers} }}\n\
         interfaces: {{ include: [lo], exclude: [], addresses: {{ loopback: true }} }}\n\
         files: {{ {files} }}\n"
    );
    fs::write(directory.join(format!("{name}.yaml")), text).unwrap();
}

/// Makes the kernel allocate as many pages as two copies need, at least 2 GiB, and free them.
///
/// A virtual machine may have to ask its host for each page that was not used for a while. That
/// took three times as long as the rest of a copy, and affected programs that write a new file, as
/// a pull does, but not those that overwrite one.
fn warm(directory: &Path, mib: usize) {
    let block = vec![1; 1 << 20];
    let mut file = File::create(directory.join("warm")).unwrap();
    (0..(2 * mib).max(2048)).for_each(|_| file.write_all(&block).unwrap());
    drop(file);
    fs::remove_file(directory.join("warm")).unwrap();
}

/// Content that differs in each run.
fn fill(path: &Path, mib: usize, seed: u8) {
    let mut random = fastrand::Rng::with_seed(seed.into());
    let block: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
    let mut file = File::create(path).unwrap();
    (0..mib).for_each(|_| file.write_all(&block).unwrap());
    file.sync_all().unwrap();
}

fn plain_copy(from: &Path, to: &Path) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let from = from.to_owned();
    let started = Instant::now();
    let sender = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Not io::copy: it would use splice and not copy through the program.
        pass(&mut File::open(from).unwrap(), &mut stream);
    });
    let mut file = File::create(to).unwrap();
    pass(&mut TcpStream::connect(address).unwrap(), &mut file);
    file.sync_all().unwrap();
    sender.join().unwrap();
    started.elapsed()
}

fn pass(from: &mut impl Read, to: &mut impl Write) {
    let mut block = vec![0; 256 * 1024];
    loop {
        match from.read(&mut block).unwrap() {
            0 => return,
            read => to.write_all(&block[..read]).unwrap(),
        }
    }
}

/// Waits until the server serves the last content; a push without a target makes it read the file.
fn wait_until_served(directory: &Path, run: u8) {
    let expected = {
        let mut random = fastrand::Rng::with_seed(run.into());
        let block: Vec<u8> = (0..1 << 20).map(|_| random.u8(..)).collect();
        let mut hasher = blake3::Hasher::new();
        let size = fs::metadata(directory.join("offered")).unwrap().len();
        for _ in 0..size >> 20 {
            hasher.update(&block);
        }
        hasher.finalize().to_hex().to_string()
    };
    for _ in 0..600 {
        if hereabouts(directory, "hub", &["status", "--output", "json"]).contains(&expected) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the server did not serve the file within 60 s");
}

fn await_pull(directory: &Path) {
    let config = directory.join("node.yaml");
    for _ in 0..300 {
        if directory.join("node/taken").exists() {
            return;
        }
        // The command fails until the node has found the server, and the server has read the file.
        let pull = Command::new(env!("CARGO_BIN_EXE_hereabouts"))
            .arg("-c")
            .arg(&config)
            .arg("pull")
            .output();
        drop(pull.unwrap());
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!(
        "the node did not pull: {}",
        fs::read_to_string(directory.join("node.log")).unwrap()
    );
}

fn hereabouts(directory: &Path, name: &str, args: &[&str]) -> String {
    let config = directory.join(format!("{name}.yaml"));
    let output = Command::new(env!("CARGO_BIN_EXE_hereabouts"))
        .arg("-c")
        .arg(config)
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

struct Running(Child);

impl Running {
    fn start(directory: &Path, name: &str) -> Self {
        let log = File::create(directory.join(format!("{name}.log"))).unwrap();
        let config = directory.join(format!("{name}.yaml"));
        let command = Command::new(env!("CARGO_BIN_EXE_hereabouts"))
            .arg("-c")
            .arg(config)
            .arg("run")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self(command.unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
