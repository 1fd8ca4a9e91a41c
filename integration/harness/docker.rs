//! One runtime, one Docker client and one image for the whole run.

use std::future::Future;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use sha2::{Digest, Sha256};
use testcontainers::bollard::Docker;
use testcontainers::core::BuildImageOptions;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncBuilder;
use testcontainers::{GenericBuildableImage, GenericImage};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Marks everything that the tests make, so that `.ci/clean` finds what an interrupted run left.
pub(super) const LABEL: &str = "org.hereabouts.integration";

/// The longest that one test may take: more is a hang.
const TEST_LIMIT: Duration = Duration::from_secs(240);

/// The image as people would write it. The directory for the state belongs to the user, so that a fresh volume does, too.
const DOCKERFILE: &str = r#"
FROM scratch
LABEL org.hereabouts.integration=image
COPY hereabouts /hereabouts
COPY --chown=65532:65532 state /var/lib/hereabouts
USER 65532:65532
ENTRYPOINT ["/hereabouts"]
CMD ["run"]
"#;

/// One for all tests: the Docker client's connections live in the runtime that opened them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static DOCKER: OnceCell<Docker> = OnceCell::const_new();
static IMAGE: OnceCell<String> = OnceCell::const_new();

/// Runs a test.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let outcome = RUNTIME.block_on(async { tokio::time::timeout(TEST_LIMIT, test).await });
    outcome.unwrap_or_else(|_| panic!("the test did not end within {TEST_LIMIT:?}"));
}

/// Runs a clean-up in a destructor, where nothing can be awaited.
pub(super) fn clean_up(task: impl Future<Output = ()>) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(task));
}

/// The Docker of this machine.
pub(super) async fn docker() -> &'static Docker {
    DOCKER
        .get_or_init(|| async {
            let docker = docker_client_instance().await;
            let answers = match &docker {
                Ok(docker) => docker.ping().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match (docker, answers) {
                (Ok(docker), Ok(_)) => docker,
                (_, answers) => panic!(
                    "these tests need a Docker that answers ({}): `apt-get install docker.io`, start it, or point \
                     DOCKER_HOST at one on this machine",
                    answers.err().unwrap_or_default()
                ),
            }
        })
        .await
}

/// The image with the binary and nothing else, built once for each binary.
pub(super) async fn image() -> GenericImage {
    let tag = IMAGE
        .get_or_init(|| async {
            docker().await;
            let path = binary();
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(
                is_static(&bytes),
                "{} is not static: build it with `cargo build --profile dist` in the repository, without RUSTFLAGS",
                path.display()
            );
            let tag = data_encoding::HEXLOWER
                .encode(&Sha256::digest([bytes.as_slice(), DOCKERFILE.as_bytes()].concat())[..6]);
            let _image = GenericBuildableImage::new("hereabouts-integration", &tag)
                .with_dockerfile_string(DOCKERFILE)
                .with_file(path, "hereabouts")
                .with_data("", "state/.keep")
                .build_image_with(BuildImageOptions::new().with_skip_if_exists(true))
                .await
                .unwrap();
            tag
        })
        .await;
    GenericImage::new("hereabouts-integration", tag.as_str())
}

/// The binary that ships, beside these tests, or `$HEREABOUTS_BINARY`.
fn binary() -> PathBuf {
    let path = std::env::var_os("HEREABOUTS_BINARY")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            // target/TRIPLE/debug/deps/integration-… is beside target/TRIPLE/dist/hereabouts.
            let own = std::env::current_exe().unwrap();
            own.ancestors().nth(3).unwrap().join("dist/hereabouts")
        });
    assert!(
        path.is_file(),
        "there is no {}: build it with `cargo build --profile dist`, or name a static binary in HEREABOUTS_BINARY",
        path.display()
    );
    path
}

/// Whether an ELF file (64 bits, little-endian) asks for no interpreter, which a dynamic one does.
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, length: usize| {
        elf.get(at..at + length).map(|bytes| {
            bytes
                .iter()
                .rev()
                .fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
        })
    };
    let header = || {
        Some((
            number(0x20, 8)? as usize,
            number(0x36, 2)? as usize,
            number(0x38, 2)? as usize,
        ))
    };
    let Some((table, size, count)) = header().filter(|_| elf.starts_with(b"\x7fELF\x02\x01"))
    else {
        return false;
    };
    (0..count)
        .all(|entry| number(table + entry * size, 4).is_some_and(|kind| kind as u32 != PT_INTERP))
}

/// The checks above must be able to fail: this test itself is a program, and `/bin/sh` is a dynamic one.
#[test]
fn a_dynamic_program_is_distinguished_from_a_static_one() {
    assert!(!is_static(&std::fs::read("/bin/sh").unwrap()));
    assert!(!is_static(b"#!/bin/sh"));
    assert!(
        is_static(&std::fs::read(binary()).unwrap()),
        "{} is not static",
        binary().display()
    );
}
