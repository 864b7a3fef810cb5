//! What a path matches in a document, and in which order.
//!
//! The walk is depth first. What `..` matches below a value comes before what it matches there, as with Upstash; paths of the
//! older dialect find the outer first, as with RedisJSON ([`Order`]). A match can be remembered with the steps that led to it, for those who are going to change it.
//! Several `..` in one path can make a walk much larger than the document, so there is a bound on what one walk may look at
//! and on how much it may find.

use std::cmp::Ordering;

use dormouse_proto::CommandError;
use regex::Regex;

use super::node::Node;
use super::path::{Comparison, Filter, Operator, Path, Segment, Term, pattern};

/// Most values that a walk may look at.
const VISITS_MAX: usize = 20_000_000;
/// Most values that a walk may find.
const MATCHES_MAX: usize = 2_000_000;

const TOO_MANY: CommandError = CommandError::text("ERR the path matches too many values");

/// One step from a value to one in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step<K> {
    /// To the member of this name.
    Key(K),
    /// To the element at this position.
    Index(usize),
}

/// A value that was found, and the steps to it if they were asked for.
#[derive(Clone, Debug)]
pub struct Match<'a> {
    /// The value.
    pub node: &'a Node,
    /// The steps from the document to it.
    pub steps: Vec<Step<&'a str>>,
}

/// In which order `..` finds what lies in one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What is below a value, then what is there.
    InnerFirst,
    /// The other way round.
    OuterFirst,
}

/// The values that a path matches.
pub fn nodes<'a>(root: &'a Node, path: &Path) -> Result<Vec<&'a Node>, CommandError> {
    let mut walk = Walk { root, order: path.order(), visits: 0, steps: None, pattern: None };
    let mut found = Vec::new();
    walk.go(&path.segments, root, &mut |_, node| found.push(node))?;
    Ok(found)
}

/// The values that a path matches, with the steps to each.
pub fn matches<'a>(root: &'a Node, path: &Path) -> Result<Vec<Match<'a>>, CommandError> {
    matches_of(root, &path.segments, path.order())
}

/// As [`matches`], of a part of a path.
pub fn matches_of<'a>(root: &'a Node, segments: &[Segment], order: Order) -> Result<Vec<Match<'a>>, CommandError> {
    let mut walk = Walk { root, order, visits: 0, steps: Some(Vec::new()), pattern: None };
    let mut found = Vec::new();
    walk.go(segments, root, &mut |steps, node| found.push(Match { node, steps: steps.to_vec() }))?;
    Ok(found)
}

struct Walk<'a> {
    root: &'a Node,
    order: Order,
    visits: usize,
    /// The steps to the value at hand, if anyone wants to know.
    steps: Option<Vec<Step<&'a str>>>,
    /// The pattern compiled last from a text in the document.
    pattern: Option<(&'a str, Option<Regex>)>,
}

type Found<'f, 'a> = &'f mut dyn FnMut(&[Step<&'a str>], &'a Node);

impl<'a> Walk<'a> {
    fn go(&mut self, segments: &[Segment], node: &'a Node, found: Found<'_, 'a>) -> Result<(), CommandError> {
        self.visits += 1;
        let Some((segment, rest)) = segments.split_first() else {
            // A value found counts for as many as it takes to remember it.
            self.visits += VISITS_MAX / MATCHES_MAX;
            found(self.steps.as_deref().unwrap_or_default(), node);
            return Ok(());
        };
        if self.visits > VISITS_MAX {
            return Err(TOO_MANY);
        }
        match segment {
            Segment::Key(key) => self.key(key, rest, node, found),
            Segment::Keys(keys) => keys.iter().try_for_each(|key| self.key(key, rest, node, found)),
            Segment::Indexes(indexes) => {
                let count = node.as_array().map_or(0, <[Node]>::len);
                indexes.iter().try_for_each(|&index| self.index(absolute(index, count), rest, node, found))
            }
            Segment::Slice { start, end, step } => {
                let count = node.as_array().map_or(0, <[Node]>::len);
                let (start, end) = (absolute(start.unwrap_or(0), count), end.map_or(count, |end| absolute(end, count)));
                (start..end).step_by(*step).try_for_each(|index| self.index(index, rest, node, found))
            }
            Segment::All => self.each(node, &mut |this, child| this.go(rest, child, found)),
            Segment::Descend => self.descend(rest, node, found),
            Segment::Filter(filter) if matches!(node, Node::Array(_) | Node::Object(_)) => {
                self.each(node, &mut |this, child| {
                    if this.holds(filter, child)? { this.go(rest, child, found) } else { Ok(()) }
                })
            }
            Segment::Filter(filter) => {
                if self.holds(filter, node)? {
                    self.go(rest, node, found)?;
                }
                Ok(())
            }
        }
    }

    /// Takes a step for as long as `act` runs.
    fn step(
        &mut self,
        step: Step<&'a str>,
        act: impl FnOnce(&mut Self) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if let Some(steps) = &mut self.steps {
            steps.push(step);
        }
        act(self)?;
        if let Some(steps) = &mut self.steps {
            steps.pop();
        }
        Ok(())
    }

    fn key(&mut self, key: &str, rest: &[Segment], node: &'a Node, found: Found<'_, 'a>) -> Result<(), CommandError> {
        let Some((key, child)) = node.as_object().and_then(|object| object.member(key)) else { return Ok(()) };
        self.step(Step::Key(key), |this| this.go(rest, child, found))
    }

    fn index(
        &mut self,
        index: usize,
        rest: &[Segment],
        node: &'a Node,
        found: Found<'_, 'a>,
    ) -> Result<(), CommandError> {
        let Some(child) = node.as_array().and_then(|items| items.get(index)) else { return Ok(()) };
        self.step(Step::Index(index), |this| this.go(rest, child, found))
    }

    fn each(
        &mut self,
        node: &'a Node,
        act: &mut dyn FnMut(&mut Self, &'a Node) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        match node {
            Node::Array(items) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, child)| self.step(Step::Index(index), |this| act(this, child)))
            }
            Node::Object(object) => {
                object.iter().try_for_each(|(key, child)| self.step(Step::Key(key), |this| act(this, child)))
            }
            _ => Ok(()),
        }
    }

    fn descend(&mut self, rest: &[Segment], node: &'a Node, found: Found<'_, 'a>) -> Result<(), CommandError> {
        if self.order == Order::OuterFirst {
            self.go(rest, node, found)?;
        }
        self.each(node, &mut |this, child| this.descend(rest, child, found))?;
        if self.order == Order::InnerFirst {
            self.go(rest, node, found)?;
        }
        Ok(())
    }

    // --- filters -------------------------------------------------------------------------------------------------

    fn holds(&mut self, filter: &Filter, node: &'a Node) -> Result<bool, CommandError> {
        match filter {
            Filter::Any(parts) => {
                for part in parts {
                    if self.holds(part, node)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::All(parts) => {
                for part in parts {
                    if !self.holds(part, node)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Exists(term) => Ok(!matches!(self.operand(term, node)?, Operand::Nothing)),
            Filter::Compare(comparison) => self.compares(comparison, node),
        }
    }

    fn compares(&mut self, comparison: &Comparison, node: &'a Node) -> Result<bool, CommandError> {
        let left = self.operand(&comparison.left, node)?;
        let right = self.operand(&comparison.right, node)?;
        let order = |wanted: fn(Ordering) -> bool| left.order(&right).is_some_and(wanted);
        Ok(match comparison.operator {
            Operator::AtLeast => order(Ordering::is_ge),
            Operator::Greater => order(Ordering::is_gt),
            Operator::AtMost => order(Ordering::is_le),
            Operator::Less => order(Ordering::is_lt),
            Operator::Equal => left.equals(&right),
            Operator::NotEqual => !left.equals(&right),
            Operator::Matches => self.fits(comparison.pattern.as_ref(), &left, &right),
        })
    }

    /// Whether a text of the document has what a pattern asks for.
    fn fits(&mut self, pattern_known: Option<&Regex>, left: &Operand<'a, '_>, right: &Operand<'a, '_>) -> bool {
        let Operand::Node(Node::Text(text)) = left else { return false };
        match right {
            Operand::Text(_) => pattern_known.is_some_and(|pattern| pattern.is_match(text)),
            Operand::Node(Node::Text(source)) => {
                if self.pattern.as_ref().is_none_or(|(known, _)| *known != &**source) {
                    // Compiling is work, too.
                    self.visits += source.len();
                    self.pattern = Some((source, pattern(source)));
                }
                self.pattern
                    .as_ref()
                    .and_then(|(_, pattern)| pattern.as_ref())
                    .is_some_and(|pattern| pattern.is_match(text))
            }
            _ => false,
        }
    }

    fn operand<'t>(&mut self, term: &'t Term, node: &'a Node) -> Result<Operand<'a, 't>, CommandError> {
        Ok(match term {
            Term::Current(segments) => self.only(segments, node)?,
            Term::Root(segments) => self.only(segments, self.root)?,
            Term::Integer(value) => Operand::Number(Node::Integer(*value)),
            Term::Double(value) => Operand::Number(Node::Double(*value)),
            Term::Text(text) => Operand::Text(text),
            Term::Bool(value) => Operand::Bool(*value),
            Term::Null => Operand::Null,
        })
    }

    /// The one value that a path leads to; several are as good as none.
    fn only<'t>(&mut self, segments: &[Segment], from: &'a Node) -> Result<Operand<'a, 't>, CommandError> {
        if segments.is_empty() {
            return Ok(Operand::Node(from));
        }
        let steps = self.steps.take();
        let (mut only, mut count) = (None, 0);
        let walked = self.go(segments, from, &mut |_, node| {
            only = Some(node);
            count += 1;
        });
        self.steps = steps;
        walked?;
        Ok(only.filter(|_| count == 1).map_or(Operand::Nothing, Operand::Node))
    }
}

/// A position in an array of so many elements: what is before the first is the first, what is after the last is the end.
fn absolute(index: i64, count: usize) -> usize {
    if index >= 0 { (index as usize).min(count) } else { count.saturating_sub(index.unsigned_abs() as usize) }
}

/// A value in a condition.
enum Operand<'a, 't> {
    Node(&'a Node),
    Number(Node),
    Text(&'t str),
    Bool(bool),
    Null,
    Nothing,
}

/// What can be compared.
#[derive(Clone, Copy)]
enum Scalar<'s> {
    Number(&'s Node),
    Text(&'s str),
    Bool(bool),
    Null,
}

impl Operand<'_, '_> {
    fn scalar(&self) -> Option<Scalar<'_>> {
        Some(match self {
            Self::Number(number) => Scalar::Number(number),
            Self::Text(text) => Scalar::Text(text),
            Self::Null | Self::Node(Node::Null) => Scalar::Null,
            Self::Bool(value) | Self::Node(Node::Bool(value)) => Scalar::Bool(*value),
            Self::Node(Node::Text(text)) => Scalar::Text(text),
            Self::Node(number @ (Node::Integer(_) | Node::Unsigned(_) | Node::Double(_))) => Scalar::Number(number),
            Self::Node(Node::Array(_) | Node::Object(_)) | Self::Nothing => return None,
        })
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self.scalar()?, other.scalar()?) {
            (Scalar::Number(a), Scalar::Number(b)) => a.compare_numbers(b),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(&b)),
            (Scalar::Null, Scalar::Null) => Some(Ordering::Equal),
            _ => None,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Node(a), Self::Node(b)) => a.equals(b, true),
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::parse;
    use super::*;

    fn select(document: &str, path: &str) -> String {
        let root = parse(document.as_bytes(), 128, usize::MAX).unwrap();
        let path = Path::parse(path.as_bytes()).unwrap();
        let with_steps = matches(&root, &path).unwrap();
        let found = nodes(&root, &path).unwrap();
        assert!(with_steps.iter().map(|found| found.node).eq(found.iter().copied()), "{path:?}");
        for Match { node, steps } in with_steps {
            let reached = steps.iter().try_fold(&root, |at, step| match step {
                Step::Key(key) => at.as_object()?.get(key),
                Step::Index(index) => at.as_array()?.get(*index),
            });
            assert!(std::ptr::eq(reached.unwrap(), node));
        }
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    impl PartialEq for Node {
        fn eq(&self, other: &Self) -> bool {
            self.equals(other, false)
        }
    }

    #[test]
    fn what_is_below_a_value_comes_before_it() {
        let document = r#"{"x":1,"in":{"x":5,"y":{"x":7}},"arr":[{"x":2},[{"x":3}],5]}"#;
        for (path, found) in [
            ("$..x", "7 5 2 3 1"),
            ("..x", "1 5 7 2 3"),
            ("$.in..x", "7 5"),
            ("$..y.x", "7"),
            ("$.*.x", "5"),
            ("$..[0]", r#"{"x":3} {"x":2}"#),
            (r#"$["in","x"]"#, r#"{"x":5,"y":{"x":7}} 1"#),
            ("$..x..x", ""),
            ("$.arr[*].x", "2"),
            ("$['in']['y'] . x", "7"),
        ] {
            assert_eq!(select(document, path), found, "{path}");
        }
        assert_eq!(select(r#"{"a":[1],"b":2}"#, "$..*"), "1 [1] 2");
        assert_eq!(select(r#"{"a":2,"b":3,"nested":{"a":4,"b":null}}"#, "$..b"), "null 3");
    }

    #[test]
    fn indexes_and_slices_clamp() {
        for (path, found) in [
            ("$[-1]", "4"),
            ("$[5]", ""),
            ("$[-6]", "0"),
            ("$[0,-1,20]", "0 4"),
            ("$[1:3]", "1 2"),
            ("$[-2:]", "3 4"),
            ("$[:-3]", "0 1"),
            ("$[::2]", "0 2 4"),
            ("$[3:1]", ""),
            ("$[-100:100:3]", "0 3"),
            ("$[99999999999999999999]", ""),
            ("$[:99999999999999999999:99999999999999999999]", "0"),
        ] {
            assert_eq!(select("[0,1,2,3,4]", path), found, "{path}");
        }
    }

    #[test]
    fn filters_compare_as_redisjson_does() {
        let document = r#"[{"a":1,"b":"x"},{"a":2.5,"b":"Y"},{"a":"1"},{"a":null},{"a":[1]},5,"s",null]"#;
        for (path, found) in [
            ("$[?(@.a>1)].a", "2.5"),
            ("$[?(@.a>=1&&@.b==\"x\")].a", "1"),
            ("$[?(@.a==1 || @.a==2 && @.b=='q')].a", "1"),
            ("$[?(@.a=='1')].a", "\"1\""),
            ("$[?(@.a==null)].a", "null"),
            ("$[?@.a].a", "1 2.5 \"1\" null [1]"),
            ("$[?(@.a!=1)]", r#"{"a":2.5,"b":"Y"} {"a":"1"} {"a":null} {"a":[1]} 5 "s" null"#),
            ("$[?(@==5)]", "5"),
            ("$[?(1<@.a)].a", "2.5"),
            ("$[?(@.a==$[0].a)].a", "1"),
            ("$[?(@.a[0]==1.0)].a", "[1]"),
            ("$[?(@.a[?(@==1)])].a", "1 [1]"),
            ("$[?(@.b=~\"(?i)y\")].b", "\"Y\""),
            ("$[?(@.b=~'[')].b", ""),
            ("$[?(@.b=~@.b)].b", "\"x\" \"Y\""),
            ("$[?(\"x\"=~@.b)].b", ""),
            ("$[?(@.nope==@.nope)]", ""),
            ("$[5][?(@>4)]", "5"),
        ] {
            assert_eq!(select(document, path), found, "{path}");
        }
        assert_eq!(select(r#"["b1","b\\w"]"#, r#"$[?(@=~"b\\w")]"#), "\"b1\"");
    }

    #[test]
    fn a_walk_has_an_end() {
        let document = "[".repeat(100) + &"]".repeat(100);
        let root = parse(document.as_bytes(), 128, usize::MAX).unwrap();
        let path = Path::parse(("$".to_owned() + &"..*".repeat(20)).as_bytes()).unwrap();
        assert_eq!(nodes(&root, &path).unwrap_err(), TOO_MANY);
    }
}
