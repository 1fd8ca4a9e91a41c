//! Compares batched UDP with tokio's UDP, which handles one datagram a call: `cargo bench --bench
//! udp`.
//!
//! Each round fills the receiver's buffer, then measures how long emptying it (receiving) or
//! filling it (sending) takes. The two implementations alternate, and the median round counts, so
//! that a busy machine changes the ratio little.

#![allow(clippy::expect_used, reason = "a benchmark that can't run stops")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hereabouts::net::{RecvBatch, SendBatch, SocketSettings, Sockets};
use tokio::net::UdpSocket;

/// The length of a datagram, in bytes.
const LENGTH: usize = 200;
/// Datagrams a round: as many as the default `net.core.rmem_max` holds without loss.
const ROUND: usize = 2 * SendBatch::MAX;
const ROUNDS: usize = 501;
const WARM_UP: usize = 20;

fn sockets() -> Sockets {
    let settings = SocketSettings {
        address: Ipv4Addr::LOCALHOST.into(),
        port: 0,
        ttl: 1,
    };
    Sockets::bind(&settings).expect("loopback")
}

async fn send_batched(from: &Sockets, to: SocketAddr, batch: &mut SendBatch) -> Duration {
    let started = Instant::now();
    for _ in 0..ROUND / SendBatch::MAX {
        while batch
            .push(to, None, |buffer| buffer[..LENGTH].len())
            .is_ok()
        {}
        let flushed = from.flush(batch, |_, error| panic!("{error}")).await;
        assert_eq!(flushed.sent, SendBatch::MAX);
    }
    started.elapsed()
}

async fn send_singly(from: &UdpSocket, to: SocketAddr) -> Duration {
    let started = Instant::now();
    let bytes = [0; LENGTH];
    for _ in 0..ROUND {
        from.send_to(&bytes, to).await.expect("send");
    }
    started.elapsed()
}

async fn receive_batched(at: &Sockets, batch: &mut RecvBatch) -> Duration {
    let started = Instant::now();
    let mut got = 0;
    while got < ROUND {
        let now = at.recv(batch).await.expect("receive");
        for place in 0..now {
            std::hint::black_box(batch.get_mut(place));
        }
        got += now;
    }
    started.elapsed()
}

async fn receive_singly(at: &UdpSocket) -> Duration {
    let started = Instant::now();
    let mut buffer = [0; 1500];
    for _ in 0..ROUND {
        std::hint::black_box(at.recv_from(&mut buffer).await.expect("receive"));
    }
    started.elapsed()
}

fn line(what: &str, batched: &mut [Duration], single: &mut [Duration]) {
    let each = |rounds: &mut [Duration]| {
        rounds.sort_unstable();
        rounds[rounds.len() / 2].as_nanos() as f64 / ROUND as f64
    };
    let batched = each(batched);
    let single = each(single);
    println!(
        "{what}: batched {batched:.0} ns a datagram, tokio one by one {single:.0} ns: {:.2} × as fast",
        single / batched
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let batched_receiver = sockets();
    let batched_sender = sockets();
    let single_receiver = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let single_sender = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let batched_to = batched_receiver.addresses().next().expect("bound");
    let single_to = single_receiver.local_addr().expect("bound");
    let mut send_batch = SendBatch::new();
    let mut recv_batch = RecvBatch::new();
    let mut rounds = [const { Vec::new() }; 4];
    for round in 0..WARM_UP + ROUNDS {
        let spent = [
            send_batched(&batched_sender, batched_to, &mut send_batch).await,
            send_singly(&single_sender, single_to).await,
            receive_batched(&batched_receiver, &mut recv_batch).await,
            receive_singly(&single_receiver).await,
        ];
        if round >= WARM_UP {
            rounds
                .iter_mut()
                .zip(spent)
                .for_each(|(rounds, spent)| rounds.push(spent));
        }
    }
    let [send_batched, send_singly, receive_batched, receive_singly] = &mut rounds;
    line("receiving", receive_batched, receive_singly);
    line("sending  ", send_batched, send_singly);
}
