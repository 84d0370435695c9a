//! What an application binds its socket to decides the way to the server through Weir as it does without.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use weir_tests::{fixture::APP, raw::client, world::ip};

use crate::scene::{HOST, Scene, ping};

const PORT: u16 = 80;
const MARK: u32 = 7;
const PROHIBITED: u32 = 9;

/// Who connected.
type Peers = Arc<Mutex<Vec<IpAddr>>>;

fn serve(scene: &Scene) -> Peers {
    let listener = scene.there.run(|| TcpListener::bind((scene.there.addresses()[0], PORT)).expect("listen"));
    let peers = Peers::default();
    let seen = Arc::clone(&peers);
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || answer(stream, &seen));
        }
    });
    peers
}

fn answer(mut stream: TcpStream, seen: &Peers) {
    let peer = stream.peer_addr().expect("a peer").ip();
    let mut request = [0; 2048];
    while matches!(stream.read(&mut request), Ok(1..)) {
        seen.lock().expect("the peers").push(peer);
        let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        if write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).is_err() {
            return;
        }
    }
}

/// Connects, asks, and gives the status line.
fn ask(scene: &Scene, prepare: impl FnOnce(&Socket)) -> std::io::Result<String> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    prepare(&socket);
    socket.connect_timeout(&scene.addr(PORT).into(), Duration::from_secs(20))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&client::post(HOST, "/mcp", "", ping(1).to_string().as_bytes()))?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned())
}

/// Device, mark and address, from in scope and from out of scope.
#[test]
fn what_a_socket_is_bound_to_holds_for_the_agents_connection_too() {
    let scene = Scene::new("binding");
    let peers = serve(&scene);
    let [usual, _] = scene.there.here();
    let IpAddr::V4(first) = usual else { panic!("{usual} is not IPv4") };
    let other = IpAddr::V4((u32::from(first) + 40).into());
    let device = scene.there.device();
    ip(&format!("addr add {other}/24 dev {device}"));
    ip(&format!("route add {} dev {device} src {other} table 100", scene.there.addresses()[0]));
    ip(&format!("rule add fwmark {MARK} table 100"));
    ip(&format!("rule add fwmark {PROHIBITED} prohibit"));
    let agent = scene.agent(&[PORT], "", "");

    type Prepare<'p> = &'p dyn Fn(&Socket);
    let cases: [(&str, Prepare<'_>, IpAddr); 5] = [
        ("nothing", &|_| (), usual),
        ("an address", &|socket| socket.bind(&SocketAddr::new(other, 0).into()).unwrap(), other),
        ("a device", &|socket| socket.bind_device(Some(device.as_bytes())).unwrap(), usual),
        ("a mark", &|socket| socket.set_mark(MARK).unwrap(), other),
        (
            "all of them",
            &|socket| {
                socket.bind_device(Some(device.as_bytes())).unwrap();
                socket.set_mark(MARK).unwrap();
                socket.bind(&SocketAddr::new(other, 0).into()).unwrap();
            },
            other,
        ),
    ];
    let mut asked = 0;
    for cgroup in ["/elsewhere", APP] {
        scene.stage.world().enter(cgroup);
        for (what, prepare, expected) in &cases {
            let status = ask(&scene, prepare).unwrap_or_else(|error| panic!("{cgroup}, {what}: {error}"));
            assert_eq!(status, "HTTP/1.1 200 OK", "{cgroup}, {what}");
            assert_eq!(peers.lock().unwrap().last(), Some(expected), "{cgroup}, {what}");
            asked += 1;
        }
    }
    assert_eq!(peers.lock().unwrap().len(), asked);
    agent.records_once("five calls", |records| records.calls("ping").len() == cases.len());

    // A way that does not exist is none through Weir either.
    ask(&scene, |socket| socket.set_mark(PROHIBITED).unwrap()).expect_err("the mark's way is prohibited");
    assert_eq!(peers.lock().unwrap().len(), asked);

    // Who may bind to a device but not undo it is told at once.
    let script = format!(
        "import os, socket; os.setuid(1000); s = socket.socket(); \
         s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'{device}'); print(s.connect_ex(('{}', {PORT})))",
        scene.there.addresses()[0]
    );
    let output = scene.stage.command(APP, &["python3".into(), "-c".into()]).arg(script).output().expect("run python3");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1", "EPERM: {output:?}");
    assert_eq!(peers.lock().unwrap().len(), asked);
}
