//! Which addresses are connected to, whatever a name resolves to.

use std::net::UdpSocket;
use std::sync::atomic::AtomicU8;

use super::*;

/// Gives one answer after the other, and counts.
#[derive(Debug)]
struct Answers {
    answers: Vec<&'static [&'static str]>,
    asked: Mutex<Vec<String>>,
}

impl Answers {
    fn new(answers: &[&'static [&'static str]]) -> Arc<Self> {
        Arc::new(Self { answers: answers.to_vec(), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Answers {
    fn resolve(&self, host: &str) -> Resolving {
        let mut asked = self.asked.lock().unwrap();
        let answer = self.answers.get(asked.len()).or(self.answers.last()).copied().unwrap_or_default();
        asked.push(host.to_owned());
        Box::pin(async move { Ok(answer.iter().map(|address| address.parse().unwrap()).collect()) })
    }
}

/// A rule for `h.test` at the server's port.
fn named(server: &Server, addresses: &str) -> String {
    format!("{{ url = \"http://h.test:{}/*\", methods = [\"GET\"]{addresses} }}", server.address.port())
}

fn url(server: &Server) -> String {
    format!("http://h.test:{}/", server.address.port())
}

#[test]
fn a_private_address_is_not_connected_to_unless_the_rule_names_it() {
    let server = Server::saying(OK);
    for address in [
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::1",
        "::",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "fd00:ec2::254",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
    ] {
        let resolver = Answers::new(&[Box::leak(Box::new([address]))]);
        let asked = with(&policy("", &named(&server, "")), Some(resolver.clone()), Ceilings::DEFAULT);
        assert_eq!(ask(&asked, get(&url(&server))).unwrap_err(), "DestinationIpProhibited", "{address}");
        assert_eq!(resolver.asked(), ["h.test"]);
    }
    assert!(server.heads().is_empty(), "nothing was connected to");
    for address in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let resolver = Answers::new(&[Box::leak(Box::new([address]))]);
        let asked = with(&policy("", &named(&server, &format!(", {LOCAL}"))), Some(resolver), Ceilings::DEFAULT);
        assert_eq!(body_of(ask(&asked, get(&url(&server)))), "ok", "{address}");
    }
}

#[test]
fn a_name_that_changes_its_mind_is_asked_once_and_checked_each_time() {
    let server = Server::saying(OK);
    let rebinding = Answers::new(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"]]);
    let asked = with(&policy("", &named(&server, &format!(", {LOCAL}"))), Some(rebinding.clone()), Ceilings::DEFAULT);
    assert_eq!(body_of(ask(&asked, get(&url(&server)))), "ok");
    assert_eq!(rebinding.asked().len(), 1, "one look-up for one request");
    assert_eq!(ask(&asked, get(&url(&server))).unwrap_err(), "DestinationIpProhibited");
    assert_eq!(body_of(ask(&asked, get(&url(&server)))), "ok");
    assert_eq!((rebinding.asked().len(), server.heads().len()), (3, 2));
}

#[test]
fn only_checked_addresses_are_tried_in_their_order() {
    let server = Server::saying(OK);
    // Nothing listens at 127.0.0.3; 127.0.0.2 is not allowed, whether or not something listens there.
    let other = TcpListener::bind(("127.0.0.2", server.address.port())).unwrap();
    other.set_nonblocking(true).unwrap();
    let answers = Answers::new(&[&["127.0.0.2", "127.0.0.3", "127.0.0.3", "::ffff:127.0.0.1"]]);
    let allowed = ", addresses = [\"127.0.0.1/32\", \"127.0.0.3/32\"]";
    let asked = with(&policy("", &named(&server, allowed)), Some(answers), Ceilings::DEFAULT);
    assert_eq!(body_of(ask(&asked, get(&url(&server)))), "ok");
    assert_eq!(other.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let none = with(&policy("", &named(&server, allowed)), Some(Answers::new(&[&["127.0.0.3"]])), Ceilings::DEFAULT);
    assert_eq!(ask(&none, get(&url(&server))).unwrap_err(), "ConnectionRefused");
    let empty = with(&policy("", &named(&server, allowed)), Some(Answers::new(&[&[]])), Ceilings::DEFAULT);
    assert!(ask(&empty, get(&url(&server))).unwrap_err().contains("NXDOMAIN"));
}

#[test]
fn an_address_in_disguise_is_the_address() {
    let server = Server::saying(OK);
    let egress = egress(&local(&server));
    let port = server.address.port();
    for host in ["127.0.0.1", "2130706433", "0x7f000001", "0177.1", "127.1"] {
        assert_eq!(body_of(ask(&egress, get(&format!("http://{host}:{port}/")))), "ok", "{host}");
    }
    assert!(ask(&egress, get(&format!("http://127.0.0.2:{port}/"))).unwrap_err().contains("none names this host"));
    assert!(server.heads().iter().all(|head| head.contains(&format!("host: 127.0.0.1:{port}\r\n"))));
}

#[test]
fn the_system_looks_local_names_up() {
    let server = Server::saying(OK);
    let port = server.address.port();
    let rule = |more: &str| format!("{{ url = \"http://localhost:{port}/\", methods = [\"GET\"]{more} }}");
    let url = format!("http://LOCALHOST:{port}/");
    assert_eq!(ask(&egress(&rule("")), get(&url)).unwrap_err(), "DestinationIpProhibited");
    assert_eq!(body_of(ask(&egress(&rule(&format!(", {LOCAL}"))), get(&url))), "ok");
}

/// A DNS server that answers A questions with the addresses in turn, AAAA questions with nothing, and names of `none.test` with NXDOMAIN.
fn dns(addresses: &'static [[u8; 4]]) -> (SocketAddr, Arc<AtomicU8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicU8::new(0));
    let counted = Arc::clone(&count);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let is_a = query[end - 4..end - 2] == [0, 1];
            let is_none = query[12..end].windows(4).any(|window| window.eq_ignore_ascii_case(b"none"));
            let mut answer = query[..2].to_vec();
            answer.extend([0x81, if is_none { 0x83 } else { 0x80 }, 0, 1, 0, u8::from(is_a && !is_none), 0, 0, 0, 0]);
            answer.extend(&query[12..end]);
            if is_a && !is_none {
                let index = counted.fetch_add(1, Ordering::Relaxed);
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                answer.extend(addresses[usize::from(index) % addresses.len()]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    (address, count)
}

#[test]
fn a_named_dns_server_is_asked_and_its_rebinding_does_not_help() {
    let server = Server::saying(OK);
    let (dns, count) = dns(&[[127, 0, 0, 1], [10, 0, 0, 1]]);
    let rule =
        format!("{}, {}", named(&server, &format!(", {LOCAL}")), named(&server, "").replace("h.test", "none.test"));
    let text = format!("[network]\ndns = \"{dns}\"");
    let asked = with(&policy(&text, &rule), None, Ceilings::DEFAULT);
    assert_eq!(body_of(ask(&asked, get(&url(&server)))), "ok");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    let again = with(&policy(&text, &rule), None, Ceilings::DEFAULT);
    assert_eq!(ask(&again, get(&url(&server))).unwrap_err(), "DestinationIpProhibited");
    let none = url(&server).replace("h.test", "none.test");
    assert!(ask(&again, get(&none)).unwrap_err().contains("NXDOMAIN"));
    assert_eq!(server.heads().len(), 1);
}
