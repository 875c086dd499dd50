//! A DNS server on loopback that answers what a test wants, another address each time if it likes.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What is answered: the name in lower case without its final dot, and how often it was asked for before, to addresses. None is
/// "no such name".
type Answer = dyn Fn(&str, usize) -> Vec<Ipv4Addr> + Send + Sync;

/// A server for questions about IPv4 addresses (others have no answer); gone when dropped.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    answering: Option<JoinHandle<()>>,
}

impl Dns {
    /// Starts it.
    #[must_use]
    pub fn new(answer: impl Fn(&str, usize) -> Vec<Ipv4Addr> + Send + Sync + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = socket.local_addr().expect("its address");
        let (asked, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (names, is_ended) = (Arc::clone(&asked), Arc::clone(&ended));
        let answering = std::thread::spawn(move || answer_all(&socket, &names, &is_ended, &answer));
        Self { address, asked, ended, answering: Some(answering) }
    }

    /// `127.0.0.1:PORT`, as policies write it.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The names whose IPv4 addresses were asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        drop(socket.send_to(&[], self.address));
        if let Some(answering) = self.answering.take() {
            drop(answering.join());
        }
    }
}

fn answer_all(socket: &UdpSocket, names: &Mutex<Vec<String>>, ended: &AtomicBool, answer: &Answer) {
    let mut packet = [0; 1500];
    while let Ok((len, from)) = socket.recv_from(&mut packet) {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let Some((name, kind, question)) = question(&packet[..len]) else { continue };
        let addresses = match kind {
            A => {
                let mut asked = names.lock().expect("not poisoned");
                let before = asked.iter().filter(|known| **known == name).count();
                asked.push(name.clone());
                answer(&name, before)
            }
            // The name has addresses of the other kind, or none at all: the question about those says which.
            _ => Vec::new(),
        };
        // QR, RD, RA; NXDOMAIN where a question about IPv4 has no answer.
        let flags: u16 = if kind == A && addresses.is_empty() { 0x8183 } else { 0x8180 };
        let mut reply = packet[..2].to_vec();
        let counts = [flags, 1, u16::try_from(addresses.len()).expect("few"), 0, 0];
        counts.iter().for_each(|field| reply.extend(field.to_be_bytes()));
        reply.extend(question);
        for address in addresses {
            reply.extend([0xc0, 12]); // The name of the question.
            reply.extend([0, 1, 0, 1, 0, 0, 0, 0, 0, 4]); // A, IN, not to be kept, four bytes.
            reply.extend(address.octets());
        }
        drop(socket.send_to(&reply, from));
    }
}

/// The type of questions about IPv4 addresses.
const A: u16 = 1;

/// The name, the type and the bytes of a packet's question.
fn question(packet: &[u8]) -> Option<(String, u16, Vec<u8>)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let len = usize::from(*packet.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8(packet.get(at..at + len)?.to_ascii_lowercase()).ok()?);
        at += len;
    }
    let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, packet.get(12..at + 4)?.to_vec()))
}
