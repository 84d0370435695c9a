//! A restart into another layout of the maps: what the last agent left denies until the next one knows what to take.

use std::{
    fs,
    io::ErrorKind,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use weir::datapath::ABI;

use crate::scene::{GOOD, Scene};

/// Between two attempts of the application.
const PAUSE: Duration = Duration::from_millis(1);

#[test]
fn nothing_goes_around_an_agent_that_starts_with_another_layout() {
    let scene = Scene::new("layout");
    let server = scene.serve_good();
    let mut agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();
    scene.still_works(&agent, &server);
    agent.kill9();
    let bpffs = scene.stage.world().bpffs().join("weir");
    let (own, other) = (bpffs.join(format!("abi-{ABI}")), bpffs.join("abi-0"));
    fs::rename(&own, &other).expect("rename the pins");

    let (target, over) = (scene.addr(GOOD), Arc::new(AtomicBool::new(false)));
    let application = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            let (mut denied, mut direct) = (0, 0);
            while !over.load(Ordering::Relaxed) {
                match TcpStream::connect(target) {
                    Ok(stream) => direct += u32::from(!stream.local_addr().expect("an address").ip().is_loopback()),
                    Err(error) => denied += u32::from(error.kind() == ErrorKind::PermissionDenied),
                }
                thread::sleep(PAUSE);
            }
            (denied, direct)
        })
    };
    agent.restart();
    over.store(true, Ordering::Relaxed);
    let (denied, direct) = application.join().expect("the application");
    assert!(denied > 0, "without an agent connections are denied");
    assert_eq!(direct, 0, "of {denied} denied ones");
    assert!(own.exists() && !other.exists());
    scene.still_works(&agent, &server);
}
