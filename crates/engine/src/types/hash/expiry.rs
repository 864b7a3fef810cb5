//! The commands about deadlines of single fields, as Redis has them since 7.4 and 8.0.
//!
//! Most of them name their fields after `FIELDS` and a count, and answer one number for each: what they did, or -1 for a
//! field without a deadline and -2 for one that is missing. A deadline that has passed removes the field at once.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use super::{Hash, announce_removal, last_values, values};
use crate::args::{Options, Span, integer, is};
use crate::client::Door;
use crate::command::{Command, Group, command};
use crate::hub::Event;
use crate::txn::{Edit, Outcome, Stop, Txn};
use crate::types::collection::{NOT_A_COUNT, counted_fields};
use crate::types::generic::Condition;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    hash("HEXPIRE",      -6, hexpire)     .writes().key(1).fast()        .blind().doc("7.4.0", "Sets how many seconds fields live."),
    hash("HPEXPIRE",     -6, hpexpire)    .writes().key(1).fast()        .blind().doc("7.4.0", "Sets how many milliseconds fields live."),
    hash("HEXPIREAT",    -6, hexpireat)   .writes().key(1).fast()        .blind().doc("7.4.0", "Sets the Unix second at which fields die."),
    hash("HPEXPIREAT",   -6, hpexpireat)  .writes().key(1).fast()        .blind().doc("7.4.0", "Sets the Unix millisecond at which fields die."),
    hash("HTTL",         -5, httl)        .reads() .key(1).fast()        .doc("7.4.0", "How many seconds fields have left."),
    hash("HPTTL",        -5, hpttl)       .reads() .key(1).fast()        .doc("7.4.0", "How many milliseconds fields have left."),
    hash("HEXPIRETIME",  -5, hexpiretime) .reads() .key(1).fast()        .doc("7.4.0", "The Unix second at which fields die."),
    hash("HPEXPIRETIME", -5, hpexpiretime).reads() .key(1).fast()        .doc("7.4.0", "The Unix millisecond at which fields die."),
    hash("HPERSIST",     -5, hpersist)    .writes().key(1).fast()        .blind().doc("7.4.0", "Takes the deadlines of fields away."),
    hash("HGETEX",       -5, hgetex)      .writes().key(1).fast()        .doc("8.0.0", "Returns the values of fields and changes their deadlines."),
    hash("HSETEX",       -6, hsetex)      .writes().key(1).fast().grows().blind().doc("8.0.0", "Sets fields with a deadline, if they are all missing or all there."),
];

const fn hash(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::Hash)
}

/// The latest deadline of a field: Redis keeps them in 46 bits.
pub(crate) const DEADLINE_MAX: i64 = (1 << 46) - 1;

const NO_DEADLINE: i64 = -1;
const NO_FIELD: i64 = -2;

fn hexpire(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    expire(txn, args, Span::Seconds, "hexpire")
}

fn hpexpire(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    expire(txn, args, Span::Millis, "hpexpire")
}

fn hexpireat(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    expire(txn, args, Span::UnixSeconds, "hexpireat")
}

fn hpexpireat(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    expire(txn, args, Span::UnixMillis, "hpexpireat")
}

/// `name key time [condition] FIELDS count field …`
fn expire(txn: &mut Txn<'_>, args: Args<'_>, span: Span, name: &'static str) -> Outcome {
    let key = args[1];
    // Redis looks at the key before it looks at the words.
    let there = txn.get::<Hash>(key)?.is_some();
    let at = match deadline(args[2], span, txn.now_ms(), name) {
        // Clients of the REST protocol ask for moments beyond the bound, and expect to hear that there is no such field.
        Err(CommandError::InvalidExpire(_)) if !there && txn.client().door == Door::Rest => DEADLINE_MAX as u64,
        at => at?,
    };
    let condition = Condition::parse(args[3]).ok();
    let fields = counted_fields(&args[3 + usize::from(condition.is_some())..]).map_err(|error| match error {
        error if error == NOT_A_COUNT => CommandError::text("ERR Parameter `numFields` should be greater than 0"),
        error => error,
    })?;
    change_each(txn, key, fields, |edit, field, now_ms| {
        if condition.is_some_and(|condition| !condition.holds(edit.deadline(field), at as i64)) {
            return Effect::None;
        }
        set_or_bury(edit, field, at, now_ms)
    })
    .map(|effects| codes(effects, 0))
}

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// There is no such field.
    Missing,
    /// Nothing.
    None,
    /// It has a deadline now.
    Set,
    /// It has none any more.
    Cleared,
    /// It is gone, because its deadline had passed.
    Buried,
}

/// The numbers that most of these commands answer; `nothing` is for a field left as it was.
fn codes(effects: Vec<Effect>, nothing: i64) -> Reply {
    let code = |effect| match effect {
        Effect::Missing => NO_FIELD,
        Effect::None => nothing,
        Effect::Set | Effect::Cleared => 1,
        Effect::Buried => 2,
    };
    Reply::Array(effects.into_iter().map(|effect| Reply::Integer(code(effect))).collect())
}

/// Does something to each of the fields that are there, in turn, and announces what came of it.
fn change_each(
    txn: &mut Txn<'_>,
    key: &[u8],
    fields: Args<'_>,
    change: impl Fn(&mut Edit<'_, Hash>, &[u8], u64) -> Effect,
) -> Result<Vec<Effect>, Stop> {
    let now_ms = txn.now_ms();
    let Some(mut edit) = txn.edit_existing::<Hash>(key)? else {
        return Ok(vec![Effect::Missing; fields.len()]);
    };
    let mut effects = Vec::with_capacity(fields.len());
    for field in fields {
        let there = edit.get().get(field).is_some();
        effects.push(if there { change(&mut edit, field, now_ms) } else { Effect::Missing });
    }
    let emptied = edit.is_empty();
    drop(edit);
    for (effect, event) in [(Effect::Set, "hexpire"), (Effect::Cleared, "hpersist")] {
        if effects.contains(&effect) {
            txn.notify(Event::Hash, event, key);
        }
    }
    if effects.contains(&Effect::Buried) {
        announce_removal(txn, key, emptied);
    }
    Ok(effects)
}

fn set_or_bury(edit: &mut Edit<'_, Hash>, field: &[u8], at: u64, now_ms: u64) -> Effect {
    if at <= now_ms {
        edit.remove(field);
        return Effect::Buried;
    }
    edit.set_deadline(field, at);
    Effect::Set
}

/// A deadline in milliseconds since the Unix epoch.
fn deadline(amount: &[u8], span: Span, now_ms: u64, name: &'static str) -> Result<u64, CommandError> {
    let amount = integer(amount)?;
    if amount < 0 {
        return Err(CommandError::text("ERR invalid expire time, must be >= 0"));
    }
    let at = span.deadline(amount, now_ms).filter(|&at| at <= DEADLINE_MAX);
    at.map(|at| at as u64).ok_or(CommandError::InvalidExpire(name))
}

fn httl(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show(txn, args, |at, now_ms| at.saturating_sub(now_ms).div_ceil(1_000))
}

fn hpttl(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show(txn, args, u64::saturating_sub)
}

fn hexpiretime(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show(txn, args, |at, _| at.div_ceil(1_000))
}

fn hpexpiretime(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show(txn, args, |at, _| at)
}

/// `name key FIELDS count field …`
fn show(txn: &mut Txn<'_>, args: Args<'_>, show: fn(u64, u64) -> u64) -> Outcome {
    let now_ms = txn.now_ms();
    let hash = txn.get::<Hash>(args[1])?;
    let code = |field: &&[u8]| match hash.and_then(|hash| hash.get(field).map(|_| hash.deadline(field))) {
        None => NO_FIELD,
        Some(0) => NO_DEADLINE,
        Some(at) => show(at, now_ms) as i64,
    };
    Ok(Reply::Array(counted_fields(&args[2..])?.iter().map(|field| Reply::Integer(code(field))).collect()))
}

fn hpersist(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    txn.get::<Hash>(args[1])?;
    let fields = counted_fields(&args[2..])?;
    change_each(txn, args[1], fields, persist).map(|effects| codes(effects, NO_DEADLINE))
}

fn persist(edit: &mut Edit<'_, Hash>, field: &[u8], _: u64) -> Effect {
    if edit.deadline(field) == 0 {
        return Effect::None;
    }
    edit.set_deadline(field, 0);
    Effect::Cleared
}

/// `HGETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS count field …`, the option also behind the fields.
fn hgetex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    txn.get::<Hash>(key)?;
    let (option, fields) = option_and_fields(&args[2..]);
    let word = option.first().copied().unwrap_or_default();
    let persists = is(word, "PERSIST");
    let at = match Span::parse(word) {
        Some(span) => Some(deadline(option[1], span, txn.now_ms(), "hgetex")?),
        None => None,
    };
    if fields.len() < 2 {
        return Err(CommandError::Arity("hgetex".into()).into());
    }
    let fields = counted_fields(fields)?;
    let now_ms = txn.now_ms();
    let hash = txn.get::<Hash>(key)?;
    let buries = at.is_some_and(|at| at <= now_ms);
    let reply = if buries { last_values(hash, fields) } else { values(hash, fields) };
    if let Some(at) = at {
        change_each(txn, key, fields, |edit, field, now_ms| set_or_bury(edit, field, at, now_ms))?;
    } else if persists {
        change_each(txn, key, fields, persist)?;
    }
    Ok(reply)
}

/// Tells an option of `HGETEX` from the fields, in whichever order they stand.
fn option_and_fields(args: Args<'_>) -> (Args<'_>, Args<'_>) {
    let length = |word: &[u8]| match Span::parse(word) {
        Some(_) => 2,
        None => usize::from(is(word, "PERSIST")),
    };
    let ahead = length(args[0]);
    if ahead == 0
        && let [_, count, rest @ ..] = args
        && let Some(count) = parse_integer(count).and_then(|count| usize::try_from(count).ok())
        && let Some((_, behind)) = rest.split_at_checked(count)
        && let Some(word) = behind.first()
        && behind.len() == length(word)
    {
        return (behind, &args[..args.len() - behind.len()]);
    }
    args.split_at(ahead.min(args.len()))
}

/// Fields and their values.
type Pairs<'a> = &'a [[&'a [u8]; 2]];

/// The options of `HSETEX`.
#[derive(Default)]
struct SetOptions {
    /// `FNX` (false) or `FXX` (true): whether the fields must all be there, or all be missing.
    there: Option<bool>,
    at: Option<u64>,
    keeps: bool,
}

/// `HSETEX key [FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS count field value [field value …]`
fn hsetex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, now_ms) = (args[1], txn.now_ms());
    let (options, pairs) = parse_set(&args[2..], now_ms)?;
    let hash = txn.get::<Hash>(key)?;
    let there = |field: &[u8]| hash.is_some_and(|hash| hash.get(field).is_some());
    if options.there.is_some_and(|wanted| pairs.iter().any(|[field, _]| there(field) != wanted)) {
        return Ok(Reply::flag(false));
    }
    let mut edit = txn.edit::<Hash>(key)?;
    for [field, value] in pairs {
        if options.keeps {
            edit.set_keeping(field, Blob::from(*value));
        } else {
            edit.set(field, Blob::from(*value));
        }
    }
    drop(edit);
    txn.notify(Event::Hash, "hset", key);
    if let Some(at) = options.at {
        let fields: Vec<&[u8]> = pairs.iter().map(|[field, _]| *field).collect();
        change_each(txn, key, &fields, |edit, field, now_ms| set_or_bury(edit, field, at, now_ms))?;
    }
    Ok(Reply::flag(true))
}

fn parse_set(args: Args<'_>, now_ms: u64) -> Result<(SetOptions, Pairs<'_>), CommandError> {
    const ARITY: CommandError = CommandError::Arity(std::borrow::Cow::Borrowed("hsetex"));
    let mut found = SetOptions::default();
    let mut options = Options::new(args);
    let mut fields: Option<Pairs<'_>> = None;
    while let Some(word) = options.next() {
        if is(word, "FIELDS") && fields.is_none() {
            let count = options.next().ok_or(ARITY)?;
            let count = parse_integer(count).filter(|&count| (1..=i64::from(i32::MAX)).contains(&count));
            let count = count.ok_or(CommandError::text("ERR invalid number of fields"))?;
            let split = options.rest().split_at_checked(count as usize * 2);
            let (pairs, behind) = split.ok_or(ARITY)?;
            fields = Some(pairs.as_chunks::<2>().0);
            options = Options::new(behind);
            continue;
        }
        if is(word, "FNX") || is(word, "FXX") {
            if found.there.replace(is(word, "FXX")).is_some() {
                return Err(CommandError::text("ERR Only one of FXX or FNX arguments can be specified"));
            }
            continue;
        }
        let span = Span::parse(word);
        if span.is_none() && !is(word, "KEEPTTL") && fields.is_some() {
            return Err(ARITY);
        }
        if span.is_none() && !is(word, "KEEPTTL") {
            return Err(format!("ERR unknown argument: {}", String::from_utf8_lossy(word)).into());
        }
        if found.keeps || found.at.is_some() {
            let text = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified";
            return Err(CommandError::text(text));
        }
        match span {
            Some(span) => found.at = Some(deadline(options.next().ok_or(ARITY)?, span, now_ms, "hsetex")?),
            None => found.keeps = true,
        }
    }
    let missing = CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position");
    fields.map(|pairs| (found, pairs)).ok_or(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn codes_of(reply: Reply) -> Vec<i64> {
        let Reply::Array(items) = reply else { panic!("{reply:?}") };
        items.into_iter().map(|item| if let Reply::Integer(code) = item { code } else { panic!("{item:?}") }).collect()
    }

    #[test]
    fn a_dead_field_is_seen_by_no_command() {
        let mut bench = Bench::new();
        for line in [
            "HLEN h",
            "HGETALL h",
            "HKEYS h",
            "HGET h a",
            "HEXISTS h a",
            "HRANDFIELD h 9",
            "HSCAN h 0",
            "HTTL h FIELDS 1 a",
        ] {
            bench.run("FLUSHALL");
            bench.run("HSET h b 2");
            let without = bench.run(line);
            bench.run("DEL h");
            bench.run("HSET h a 1 b 2");
            assert_eq!(codes_of(bench.run("HPEXPIRE h 100 FIELDS 1 a")), [1]);
            assert_ne!(bench.run(line), without, "{line}");
            bench.pass_ms(100);
            assert_eq!(bench.run(line), without, "{line}");
        }
    }

    #[test]
    fn a_hash_dies_with_its_last_field() {
        let mut bench = Bench::new();
        bench.run("HSET h a 1 b 2");
        bench.run("HPEXPIRE h 100 FIELDS 1 a");
        bench.run("HPEXPIRE h 200 FIELDS 1 b");
        bench.pass_ms(150);
        assert_eq!(bench.run("HLEN h"), Reply::Integer(1));
        bench.pass_ms(50);
        assert_eq!(bench.run("TYPE h"), Reply::status("none"));
        assert_eq!(bench.size().0, 0);
    }

    #[test]
    fn burying_many_fields_is_a_small_effect() {
        let mut bench = Bench::new();
        let names: Vec<String> = (0..1_000).map(|n| format!("{n}{}", "x".repeat(500))).collect();
        bench.run(&format!("HSET h lasting v {} v", names.join(" v ")));
        bench.run(&format!("HPEXPIRE h 100 FIELDS 1000 {}", names.join(" ")));
        bench.pass_ms(100);
        assert_eq!(bench.run("HGETALL h"), Reply::Map(vec![(Reply::bulk("lasting"), Reply::bulk("v"))]));
        assert!((1..50).contains(&bench.journal_bytes), "{}", bench.journal_bytes);
    }

    #[test]
    fn deadlines_follow_the_value_or_go() {
        let mut bench = Bench::new();
        bench.run("HSET h a 1 b 1 c 1 d 1 e x");
        bench.run("HEXPIRE h 100 FIELDS 5 a b c d e");
        bench.run("HSET h a 2");
        bench.run("HINCRBY h b 1");
        bench.run("HINCRBYFLOAT h c 1");
        bench.run("HDEL h d");
        bench.run("HSET h d 1");
        assert_eq!(codes_of(bench.run("HTTL h FIELDS 5 a b c d e")), [-1, 100, 100, -1, 100]);
        bench.run("COPY h copy");
        bench.run("RENAME h moved");
        for key in ["copy", "moved"] {
            assert_eq!(codes_of(bench.run(&format!("HTTL {key} FIELDS 2 b e"))), [100, 100]);
        }
    }

    #[test]
    fn fields_past_their_deadline_at_once_are_removed() {
        let mut bench = Bench::new();
        bench.run("HSET h a 1 b 2");
        assert_eq!(codes_of(bench.run("HEXPIRE h 0 FIELDS 3 a a x")), [2, -2, -2]);
        assert_eq!(bench.run("HGETEX h EX 0 FIELDS 2 a b"), Reply::Array(vec![Reply::Null, Reply::bulk("2")]));
        assert_eq!(bench.size().0, 0);
        assert_eq!(bench.run("HSETEX new EXAT 1 FIELDS 1 a 1"), Reply::Integer(1));
        assert_eq!(bench.size().0, 0);
    }

    #[test]
    fn many_deadlines_agree_with_a_model() {
        let mut bench = Bench::new();
        let mut model = std::collections::BTreeMap::<String, Option<u64>>::new();
        let mut random = crate::moment::Random::new(5);
        let mut now = 0;
        for _ in 0..1_500 {
            let field = format!("f{}", random.below(200));
            let ms = 1 + random.below(400);
            match random.below(5) {
                0 | 1 => {
                    bench.run(&format!("HSET h {field} 1"));
                    model.insert(field, None);
                }
                2 => {
                    let code = codes_of(bench.run(&format!("HPEXPIRE h {ms} FIELDS 1 {field}")));
                    assert_eq!(code, [if model.contains_key(&field) { 1 } else { -2 }]);
                    model.entry(field).and_modify(|at| *at = Some(now + ms));
                }
                3 => {
                    bench.run(&format!("HDEL h {field}"));
                    model.remove(&field);
                }
                _ => {
                    now += ms / 10;
                    bench.pass_ms(ms / 10);
                    model.retain(|_, at| at.is_none_or(|at| at > now));
                }
            }
            assert_eq!(bench.run("HLEN h"), Reply::count(model.len()));
        }
    }
}
