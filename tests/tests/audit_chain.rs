//! Whatever is done to a stored record shows: in either store, for every record, and against a second copy what one
//! alone can't show.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::TestCaseResult};
use redress_router::{
    audit::{
        Record, Sealed,
        check::{Content, Fault, Row, Trail},
        copy::{Compared, Copy, Retention},
    },
    store::{Commit, Expect, Op, Store, dynamodb::DynamoDb, file, memory::Memory},
};
use redress_sandbox::{emulator::Emulator, tables};
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z, in milliseconds.
const START: u64 = 1_767_225_600_000;

/// A run's records, sealed one after the other.
type Chain = Vec<(Record, Sealed)>;

fn record(run: &str, seq: usize, of: usize, text: &str, at: u64) -> Record {
    let stage = if seq == of { "verified" } else { "intent" };
    let value = json!({
        "run": run, "seq": seq, "time": Timestamp::from_millisecond(i64::try_from(at).unwrap()).unwrap(),
        "stage": stage, "last": seq == of, "verb": "fix",
        "asked_by": { "door": "automatic", "event": "e" },
        "finding": { "id": format!("finding-{run}"), "product": "p" },
        "control": "S3.14", "mode": "apply", "account": "123456789012", "region": "eu-west-1",
        "resource": "aws/123456789012/eu-west-1/AwsS3Bucket/logs",
        "reason": text, "change": { "from": { "text": text }, "to": { "text": "" } },
    });
    serde_json::from_value(value).unwrap()
}

/// Seals records into a chain, as the engine does.
fn seal(records: impl IntoIterator<Item = Record>) -> Chain {
    let mut prev = String::new();
    let chain = records.into_iter().map(|mut record| {
        record.prev.clone_from(&prev);
        let sealed = record.seal().unwrap();
        prev.clone_from(&sealed.hash);
        (record, sealed)
    });
    chain.collect()
}

/// A whole run, the `number`th, whose records say these things.
fn run(number: u64, texts: &[String]) -> Chain {
    let at = START + number * 60_000;
    let mut random = [7; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis(at, &random).into_uuid().to_string();
    let many = texts.len();
    seal(texts.iter().enumerate().map(|(index, text)| record(&id, index + 1, many, text, at + index as u64)))
}

fn runs() -> impl Strategy<Value = Vec<Chain>> {
    prop::collection::vec(prop::collection::vec(".{0,12}", 1..5), 1..4)
        .prop_map(|runs| (1..).zip(&runs).map(|(number, texts)| run(number, texts)).collect())
}

fn id(chain: &Chain) -> &str {
    &chain[0].0.run
}

fn lines(chains: &[Chain]) -> Vec<String> {
    chains.iter().flatten().map(|(_, sealed)| sealed.line.clone()).collect()
}

// --- the stores ---

/// A folder that is gone with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("redress-chain-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, lines: &[String]) {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        fs::write(self.0.join("audit.jsonl"), text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What `history --verify` makes of a folder.
fn verified(dir: &Path) -> Trail {
    match file::File::open(dir) {
        Ok(store) => wait(Trail::of(&store)).unwrap(),
        Err(error) => {
            let mut trail = Trail::read(file::rows(dir).unwrap());
            assert!(!trail.faults.is_empty(), "{error}");
            trail.hold_against(&HashMap::new());
            trail
        }
    }
}

fn in_memory(chains: &[Chain]) -> Trail {
    let store = Memory::default();
    let records = chains.iter().flatten().cloned().collect();
    wait(store.commit(&Commit { ops: Vec::new(), records })).unwrap();
    wait(Trail::of(&store)).unwrap()
}

fn read(lines: &[String]) -> Trail {
    let row = |line: &String| Row {
        place: "here".to_owned(),
        content: Content::Record { line: line.clone(), key: None },
    };
    let mut trail = Trail::read(lines.iter().map(row));
    trail.hold_against(&HashMap::new());
    trail
}

fn names(faults: &[Fault], run: &str) -> bool {
    faults.iter().any(|fault| fault.run.as_deref() == Some(run))
}

// --- one copy ---

/// Each single thing that can be done to one record of a chain at `at`, with whether its run must be named.
fn tamperings(all: &[String], at: usize, other: usize, byte: usize) -> Vec<(&'static str, Vec<String>)> {
    let mut done = Vec::new();
    let mut with = |what, change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = all.to_vec();
        change(&mut lines);
        if lines != all {
            done.push((what, lines));
        }
    };
    with("removed", &|lines| drop(lines.remove(at)));
    with("duplicated", &|lines| lines.push(lines[at].clone()));
    with("replaced by another", &|lines| lines[at] = lines[other].clone());
    with("edited", &|lines| {
        let mut bytes = lines[at].clone().into_bytes();
        let byte = byte % bytes.len();
        bytes[byte] = if bytes[byte] == b'x' { b'y' } else { b'x' };
        lines[at] = String::from_utf8_lossy(&bytes).into_owned();
    });
    with("a character left out", &|lines| {
        let nth = byte % lines[at].chars().count();
        lines[at] =
            lines[at].chars().enumerate().filter(|(index, _)| *index != nth).map(|(_, c)| c).collect();
    });
    done
}

fn every_record_of(chains: &[Chain], byte: usize, other: usize) -> TestCaseResult {
    let dir = Dir::new();
    let store = file::File::open(&dir.0).unwrap();
    let records = chains.iter().flatten().cloned().collect();
    wait(store.commit(&Commit { ops: Vec::new(), records })).unwrap();
    let all = lines(chains);
    prop_assert_eq!(verified(&dir.0).faults, vec![]);
    prop_assert_eq!(in_memory(chains).faults, vec![]);

    let owners: Vec<&str> = chains.iter().flat_map(|chain| chain.iter().map(|_| id(chain))).collect();
    for at in 0..all.len() {
        for (what, lines) in tamperings(&all, at, other % all.len(), byte) {
            // A run of one record that is taken out is gone whole: the second copy's to find.
            let alone = owners.iter().filter(|owner| **owner == owners[at]).count() == 1;
            if what == "removed" && alone {
                continue;
            }
            dir.write(&lines);
            let faults = verified(&dir.0).faults;
            prop_assert!(!faults.is_empty(), "record {} {}", at + 1, what);
            if !alone || what == "duplicated" {
                prop_assert!(names(&faults, owners[at]), "record {} {}: {:?}", at + 1, what, faults);
            }
            prop_assert!(!read(&lines).faults.is_empty(), "record {} {}", at + 1, what);
        }
    }
    for chain in chains {
        // Cut off at every length, and two records with each other's numbers, sealed anew.
        for length in 1..chain.len() {
            let left = all.iter().filter(|line| !chain[length..].iter().any(|(_, cut)| cut.line == **line));
            dir.write(&left.cloned().collect::<Vec<_>>());
            let faults = verified(&dir.0).faults;
            prop_assert!(names(&faults, id(chain)), "cut behind {}: {:?}", length, faults);
            let said =
                faults.iter().any(|fault| fault.what.contains(&format!("cut off behind record {length}")));
            prop_assert!(said, "{:?}", faults);
        }
        for a in 0..chain.len() {
            for b in 0..a {
                let mut swapped = chain.clone();
                (swapped[a].0.seq, swapped[b].0.seq) = (chain[b].0.seq, chain[a].0.seq);
                for at in [a, b] {
                    swapped[at].1 = swapped[at].0.seal().unwrap();
                }
                let rest = chains.iter().filter(|other| id(other) != id(chain)).cloned();
                let lines = lines(&rest.chain([swapped]).collect::<Vec<_>>());
                dir.write(&lines);
                prop_assert!(names(&verified(&dir.0).faults, id(chain)), "{} and {} swapped", a + 1, b + 1);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_record_shows(chains in runs(), byte in any::<usize>(), other in any::<usize>()) {
        every_record_of(&chains, byte, other)?;
    }

    #[test]
    fn in_any_order_an_unaltered_store_passes(order in runs().prop_flat_map(|chains| {
        let all = lines(&chains);
        (Just(chains), Just(all).prop_shuffle())
    })) {
        let (chains, shuffled) = order;
        let dir = Dir::new();
        dir.write(&shuffled);
        let trail = verified(&dir.0);
        prop_assert_eq!(&trail.faults, &vec![]);
        prop_assert_eq!(trail.runs.len(), chains.len());
        prop_assert_eq!(trail.runs.values().map(|run| run.records.len()).sum::<usize>(), shuffled.len());
    }

    #[test]
    fn against_a_second_copy_whole_runs_are_missed_and_found(chains in runs(), at in any::<usize>()) {
        against(&chains, at % chains.len())?;
    }
}

#[test]
fn every_byte_counts() {
    let chains = [run(1, &["ä\"\\".to_owned(), "\u{202e}".to_owned()])];
    let dir = Dir::new();
    let all = lines(&chains).iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes();
    for at in 0..all.len() {
        for new in [b'\n', all[at] ^ 1, all[at] ^ 0x20] {
            if new == all[at] {
                continue;
            }
            let mut bytes = all.clone();
            bytes[at] = new;
            fs::write(dir.0.join("audit.jsonl"), &bytes).unwrap();
            let trail = Trail::read(file::rows(&dir.0).unwrap());
            assert!(!trail.faults.is_empty(), "byte {at}, {:?} -> {:?}", all[at] as char, new as char);
        }
    }
    for at in 0..all.len() {
        fs::write(dir.0.join("audit.jsonl"), &all[..at]).unwrap();
        let mut trail = Trail::read(file::rows(&dir.0).unwrap());
        trail.hold_against(&HashMap::new());
        assert_eq!(trail.faults.is_empty(), at == 0, "cut at {at}: {:?}", trail.faults);
    }
}

#[test]
fn a_run_that_goes_on_is_told_from_one_that_was_cut_off() {
    let chain = run(1, &["a".to_owned(), "b".to_owned()]);
    let store = Memory::default();
    let lease = |run: &str, until: &str| Op::Put {
        key: format!("lease#{run}"),
        body: json!({ "run": run, "until": until }),
        etag: "1".to_owned(),
        expect: Expect::Anything,
        expires: None,
    };
    let ops = vec![lease(id(&chain), "2026-01-01T00:05:00Z")];
    wait(store.commit(&Commit { ops, records: vec![chain[0].clone()] })).unwrap();
    let trail = wait(Trail::of(&store)).unwrap();
    assert_eq!(trail.faults, []);
    assert!(!trail.runs[id(&chain)].ended() && trail.runs[id(&chain)].lease.is_some());
    // Its lease is there, its records are not.
    let ops = vec![lease("gone", "2026-01-01T00:05:00Z")];
    wait(store.commit(&Commit { ops, records: Vec::new() })).unwrap();
    let trail = wait(Trail::of(&store)).unwrap();
    assert!(names(&trail.faults, "gone"), "{:?}", trail.faults);
    let ops = vec![Op::Delete { key: format!("lease#{}", id(&chain)), expect: Expect::Anything }];
    wait(store.commit(&Commit { ops, records: Vec::new() })).unwrap();
    assert!(names(&wait(Trail::of(&store)).unwrap().faults, id(&chain)));
}

// --- a second copy ---

/// A line of the dispatcher's log.
fn logged((record, sealed): &(Record, Sealed)) -> String {
    let mut shown = record.clone();
    shown.change = None;
    let record = serde_json::to_string(&shown).unwrap();
    json!({ "timestamp": record.len(), "level": "INFO", "message": "recorded", "hash": sealed.hash,
        "record": record, "target": "audit" })
    .to_string()
}

fn log(chains: &[Chain]) -> Copy {
    let mut text = "START RequestId\n{\"level\":\"INFO\",\"target\":\"router\"}\n".to_owned();
    for one in chains.iter().flatten() {
        text.push_str(&logged(one));
        text.push('\n');
    }
    let mut copy = Copy::default();
    copy.read("log", text.as_bytes());
    assert_eq!((copy.other, copy.garbage), (1, 1));
    copy
}

fn compared(copy: &Copy, chains: &[Chain]) -> Compared {
    let trail = read(&lines(chains));
    assert_eq!(trail.faults, [], "one copy alone can't show it");
    copy.compare(&trail, None)
}

fn against(chains: &[Chain], at: usize) -> TestCaseResult {
    // Around them are two more, which the copy has too: its time covers all of the others'.
    let [first, last] = [0, 99].map(|number| run(number, &["edge".to_owned()]));
    let whole: Vec<Chain> = [vec![first], chains.to_vec(), vec![last]].concat();
    let at = at + 1;
    let victim = id(&whole[at]).to_owned();
    let copy = log(&whole);
    let clean = compared(&copy, &whole);
    prop_assert_eq!(&clean.faults, &vec![]);
    prop_assert_eq!(clean.agreeing, whole.iter().map(Vec::len).sum::<usize>());

    let mut removed = whole.clone();
    removed.remove(at);
    prop_assert!(names(&compared(&copy, &removed).faults, &victim), "removed");
    prop_assert!(names(&compared(&log(&removed), &whole).faults, &victim), "added");

    let mut anew = whole.clone();
    anew[at] = seal(whole[at].iter().map(|(record, _)| {
        let mut record = record.clone();
        record.reason = Some("somebody else did it".to_owned());
        record
    }));
    let faults = compared(&copy, &anew).faults;
    prop_assert!(names(&faults, &victim) && faults[0].record == Some(1), "written anew: {:?}", faults);

    // Cut off at its end so that another record is the last one, and sealed anew.
    if whole[at].len() > 1 {
        let mut cut = whole.clone();
        let length = whole[at].len() - 1;
        cut[at] = seal(whole[at][..length].iter().enumerate().map(|(index, (record, _))| {
            let mut record = record.clone();
            record.last = index + 1 == length;
            record
        }));
        prop_assert!(names(&compared(&copy, &cut).faults, &victim), "cut off");
    }
    Ok(())
}

#[test]
fn what_a_copy_can_not_tell_is_not_called_broken() {
    let chains: Vec<Chain> = (1..4).map(|number| run(number, &["a".to_owned(), "b".to_owned()])).collect();
    // Made after the copy was: not compared.
    let later = compared(&log(&chains[..2]), &chains);
    assert_eq!((later.faults.as_slice(), later.outside), (&[][..], 2));
    // Gone when its time was over, and not a day before.
    let copy = log(&chains);
    let now = Timestamp::from_millisecond(i64::try_from(START).unwrap()).unwrap()
        + SignedDuration::from_hours(24 * 30);
    let trail = read(&lines(&chains[1..]));
    assert_eq!(copy.compare(&trail, Some(Retention { days: 29, now })).expired, 1);
    let early = copy.compare(&trail, Some(Retention { days: 30, now }));
    assert!(names(&early.faults, id(&chains[0])), "{early:?}");
    // Of the command line: its runs are not in the function's log.
    let mut mine = chains.clone();
    mine[1] = seal(chains[1].iter().map(|(record, _)| {
        let mut value = serde_json::to_value(record).unwrap();
        value["asked_by"] = json!({ "door": "cli", "caller": "arn:aws:iam::123456789012:user/ada" });
        serde_json::from_value::<Record>(value).unwrap()
    }));
    let seen = compared(&log(&[chains[0].clone(), chains[2].clone()]), &mine);
    assert_eq!(seen.faults, []);
    assert_eq!(
        seen.unconfirmed,
        [(id(&mine[1]).to_owned(), "arn:aws:iam::123456789012:user/ada".to_owned())]
    );
    // A copy that says two things of one record.
    let mut twofold = log(&chains);
    let other = seal([record(id(&chains[0]), 1, 2, "otherwise", START)]);
    twofold.read("more", logged(&other[0]).as_bytes());
    assert!(names(&compared(&twofold, &chains).faults, id(&chains[0])));
}

#[test]
fn a_copy_is_read_in_every_form_in_which_it_is_had() {
    use std::io::Write as _;
    let chain = run(1, &["a".to_owned(), "b".to_owned()]);
    let text: String = chain.iter().map(|one| logged(one) + "\n").collect();
    let packed = |text: &str| {
        let name = format!("redress-gzip-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        let out = std::process::Command::new("gzip").arg("-c").arg(&path).output().unwrap().stdout;
        fs::remove_file(&path).unwrap();
        out
    };
    let half = text.find('\n').unwrap() + 1;
    let events: Vec<Value> = text.lines().map(|line| json!({ "timestamp": 1, "message": line })).collect();
    let forms: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        ("lines", text.clone().into_bytes()),
        ("gzip of two parts", [packed(&text[..half]), packed(&text[half..])].concat()),
        ("one behind the other", text.replace('\n', "").into_bytes()),
        (
            "exported",
            text.lines()
                .flat_map(|line| ["2026-01-01T00:00:00.000Z ", line, "\n"])
                .collect::<String>()
                .into(),
        ),
        ("filter-log-events", serde_json::to_vec_pretty(&json!({ "events": events })).unwrap()),
        ("audit.jsonl", lines(std::slice::from_ref(&chain)).join("\n").into_bytes()),
    ]);
    for (what, content) in forms {
        let dir = Dir::new();
        fs::create_dir_all(dir.0.join("2026/01/01")).unwrap();
        fs::File::create(dir.0.join("2026/01/01/part")).unwrap().write_all(&content).unwrap();
        let copy = Copy::load(&dir.0).unwrap();
        assert_eq!((copy.records(), copy.garbage, copy.other), (2, 0, 0), "{what}");
        assert_eq!(compared(&copy, std::slice::from_ref(&chain)).agreeing, 2, "{what}");
    }
    let dir = Dir::new();
    fs::write(dir.0.join("a.zip"), b"PK\x03\x04").unwrap();
    assert!(Copy::load(&dir.0).unwrap_err().message.contains("unpack it first"));
}

// --- DynamoDB ---

/// A table of records to which anything can be done.
struct Table {
    client: Client,
    store: DynamoDb,
}

impl Table {
    async fn new(chains: &[Chain]) -> Self {
        let client = Client::new(&Emulator::new().sdk_config("123456789012", "eu-west-1"));
        tables::make(&client, "state", tables::STATE).await.unwrap();
        tables::make(&client, "audit", tables::AUDIT).await.unwrap();
        let clock = std::sync::Arc::new(|| Timestamp::from_second(1_767_312_000).unwrap());
        let store = DynamoDb::new(client.clone(), "state", "audit", 400, clock);
        for one in chains.iter().flatten() {
            store.commit(&Commit { ops: Vec::new(), records: vec![one.clone()] }).await.unwrap();
        }
        Self { client, store }
    }

    async fn items(&self) -> Vec<HashMap<String, AttributeValue>> {
        self.client.scan().table_name("audit").send().await.unwrap().items.unwrap_or_default()
    }

    async fn delete(&self, item: &HashMap<String, AttributeValue>) {
        let delete = self.client.delete_item().table_name("audit");
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
    }

    async fn put(&self, item: &HashMap<String, AttributeValue>) {
        self.client.put_item().table_name("audit").set_item(Some(item.clone())).send().await.unwrap();
    }

    async fn faults(&self) -> Vec<Fault> {
        Trail::of(&self.store).await.unwrap().faults
    }
}

#[tokio::test]
async fn whatever_is_done_to_an_item_of_a_table_shows() {
    let texts = ["a".to_owned(), "long ".repeat(9000), "c".to_owned()];
    let chains = [run(1, &texts), run(2, &texts)];
    let table = Table::new(&chains).await;
    assert_eq!(table.faults().await, []);
    let items = table.items().await;
    assert_eq!(items.len(), 6 + 6, "six records, and six entries by which runs are found");
    let is_record = |item: &HashMap<String, AttributeValue>| item["pk"].as_s().unwrap().starts_with("run#");
    for item in &items {
        let owner = item["run"].as_s().unwrap();
        table.delete(item).await;
        let faults = table.faults().await;
        assert!(names(&faults, owner), "removed: {item:?}: {faults:?}");
        if is_record(item) {
            let content = if item.contains_key("z") { "z" } else { "line" };
            for other in items.iter().filter(|other| is_record(other) && other["sk"] != item["sk"]) {
                let mut changed = item.clone();
                changed.remove(content);
                for name in ["line", "z"] {
                    if let Some(value) = other.get(name) {
                        changed.insert(name.to_owned(), value.clone());
                    }
                }
                table.put(&changed).await;
                assert!(names(&table.faults().await, owner), "the content of another");
            }
            if content == "line" {
                let mut changed = item.clone();
                let line = item["line"].as_s().unwrap().replace("S3.14", "S3.15");
                changed.insert("line".to_owned(), AttributeValue::S(line));
                table.put(&changed).await;
                assert!(names(&table.faults().await, owner), "edited");
            }
            let mut empty = item.clone();
            empty.remove(content);
            table.put(&empty).await;
            assert!(names(&table.faults().await, owner), "emptied");
            let mut second = item.clone();
            second.insert("sk".to_owned(), AttributeValue::S("0000000009".to_owned()));
            table.put(item).await;
            table.put(&second).await;
            assert!(names(&table.faults().await, owner), "under a second number");
            table.delete(&second).await;
        }
        table.put(item).await;
        assert_eq!(table.faults().await, []);
    }
    // A run whose records are gone, and which is still listed.
    for item in items.iter().filter(|item| is_record(item) && item["run"].as_s().unwrap() == id(&chains[0])) {
        table.delete(item).await;
    }
    assert!(names(&table.faults().await, id(&chains[0])));
    // All that is of the run: only the second copy shows it.
    for item in items.iter().filter(|item| item["run"].as_s().unwrap() == id(&chains[0])) {
        table.delete(item).await;
    }
    let trail = Trail::of(&table.store).await.unwrap();
    assert_eq!(trail.faults, []);
    assert!(names(&log(&chains).compare(&trail, None).faults, id(&chains[0])));
}

#[tokio::test]
async fn what_has_expired_is_no_fault() {
    let chains = [run(1, &["a".to_owned(), "b".to_owned()])];
    let table = Table::new(&chains).await;
    let clock = std::sync::Arc::new(|| Timestamp::from_second(1_767_312_000 + 86_400 * 400).unwrap());
    let store = DynamoDb::new(table.client.clone(), "state", "audit", 400, clock);
    let trail = Trail::of(&store).await.unwrap();
    assert_eq!((trail.faults.len(), trail.runs.len()), (0, 0));
}

// --- formats ---

/// A file store as each released format wrote it. It is read for ever.
#[test]
fn every_format_that_was_ever_written_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audit");
    let mut formats = 0;
    for format in fs::read_dir(folder).unwrap() {
        let format = format.unwrap().path();
        if !format.is_dir() {
            continue;
        }
        formats += 1;
        let trail = Trail::read(file::rows(&format).unwrap());
        assert_eq!(trail.faults, [], "{}", format.display());
        assert!(!trail.runs.is_empty() && trail.runs.values().all(redress_router::audit::check::Run::ended));
        for run in trail.runs.values() {
            let (last, _) = run.records.values().next_back().unwrap();
            assert!(last.subject.resource.is_some() && !last.subject.control.is_empty(), "{last:?}");
        }
    }
    assert!(formats >= 1);
}
