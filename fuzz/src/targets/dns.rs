//! Any answer: it is read to an end in bounded steps, and where it is cut short it is not taken for whole.
use weir_ebpf::dns::{Answer, Event, HashKey, Header, MAX_ANSWER_STEPS, Name, Progress, QUESTION_AT};

const KEY: HashKey = HashKey::from_random(42);

/// How many addresses are found, and where the section ended; `None` if it does not.
fn read(message: &[u8]) -> Option<usize> {
    let header = Header::read(message).filter(Header::is_response)?;
    let mut name = Name::at(QUESTION_AT);
    loop {
        match name.step(message, &KEY) {
            Progress::Byte(_) => assert!(name.len() < 255),
            Progress::End => break,
            Progress::Jump | Progress::Bad => return None,
        }
    }
    let mut answer = Answer::new(name.hash().value(), name.end() + 4, header.answers);
    let mut found = 0;
    for _ in 0..MAX_ANSWER_STEPS {
        match answer.step(message, &KEY) {
            Event::More => {}
            Event::Address(..) => found += 1,
            Event::End => return Some(found),
            Event::Bad => return None,
        }
    }
    None
}

/// One input.
pub(crate) fn run(message: &[u8]) {
    if let Some(found) = read(message) {
        assert!(found <= usize::from(u16::MAX));
        let mut longer = message.to_vec();
        longer.push(0);
        assert_eq!(read(&longer), Some(found), "what comes after the section does not count");
    }
}
