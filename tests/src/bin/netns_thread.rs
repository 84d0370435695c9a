//! A thread takes a network namespace of its own, makes a socket there, and stays until standard input ends. The process
//! is elsewhere all the time.

use std::{io::Read as _, net::UdpSocket, thread};

use nix::sched::{CloneFlags, unshare};

fn main() {
    let visitor = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
        let _socket = UdpSocket::bind("0.0.0.0:0").expect("make a socket");
        std::io::stdin().read_to_end(&mut Vec::new()).expect("wait for the end of standard input");
    });
    visitor.join().expect("the thread ends well");
}
