//! What a driver knows of its device beyond what every driver knows: a small tree of named values, without a format.
//!
//! 1. [`crate::LportControl::details`] makes one when somebody asks, from any thread.
//! 2. Whoever asked turns it into JSON, a table or whatever it shows; names stand in the order the driver chose.

/// Named values, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details(Vec<(&'static str, Value)>);

/// A value of a [`Details`] tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Known by name, but there is none now: the peer of a link that is down.
    Absent,
    /// Yes or no.
    Flag(bool),
    /// A number.
    Number(u64),
    /// A word or a sentence.
    Text(String),
    /// Values of one kind.
    List(Vec<Value>),
    /// Named values.
    Tree(Details),
}

impl Details {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value behind the others.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Whether there are none: the driver has nothing to add.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl Value {
    /// The value at the end of a path of names; numbers of the path are positions in lists.
    ///
    /// ```
    /// use pmd_core::{Details, details::Value};
    ///
    /// let ring = Details::new().with("size", 1024_u64);
    /// let link = Value::from(Details::new().with("rings", vec![Value::from(ring)]));
    /// assert_eq!(link.at("rings.0.size"), Some(&Value::Number(1024)));
    /// ```
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, step| match value {
            Self::Tree(tree) => tree.get(step),
            Self::List(list) => list.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Details> for Value {
    fn from(tree: Details) -> Self {
        Self::Tree(tree)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}
