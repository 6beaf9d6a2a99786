//! The languages: of people in Discord, and of the administrator, who reads errors and `check`.
//!
//! An error's `Display` is English, which the log is written in too; its Spanish stands beside it, in [`Localized`].

use std::fmt::Display;
use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

/// A language that the bot speaks.
///
/// It is decoded from Discord's locales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "&'static str")]
pub enum Language {
    /// For everybody whose language the bot doesn't speak.
    #[default]
    English,
    /// Spanish, of Spain and of Latin America.
    Spanish,
    /// Portuguese, of Brazil.
    Portuguese,
}

impl From<String> for Language {
    fn from(locale: String) -> Self {
        let speaks = |language: &Self| language.locales().contains(&locale.as_str());
        Self::ALL.into_iter().find(speaks).unwrap_or_default()
    }
}

impl From<Language> for &'static str {
    fn from(language: Language) -> Self {
        language.locales().first().copied().unwrap_or("en")
    }
}

impl Language {
    /// All languages: one that is missing here is spoken to nobody.
    pub const ALL: [Self; 3] = [Self::English, Self::Spanish, Self::Portuguese];

    /// Discord's locales for the language, without those that the default covers.
    pub fn locales(self) -> &'static [&'static str] {
        match self {
            Self::English => &[],
            Self::Spanish => &["es-ES", "es-419"],
            Self::Portuguese => &["pt-BR"],
        }
    }

    /// The administrator's language: Spanish where the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is
    /// not empty begins with `es`, otherwise English. `variable` looks a variable up.
    pub fn of_operator(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
        if locale.is_some_and(|locale| locale.starts_with("es")) { Self::Spanish } else { Self::English }
    }

    /// Administrators are spoken to in English or in Spanish.
    pub fn pick_for_operator<T>(self, english: T, spanish: T) -> T {
        match self {
            Self::English | Self::Portuguese => english,
            Self::Spanish => spanish,
        }
    }

    pub fn pick<T>(self, english: T, spanish: T, portuguese: T) -> T {
        match self {
            Self::English => english,
            Self::Spanish => spanish,
            Self::Portuguese => portuguese,
        }
    }
}

/// A text in English and in Spanish.
pub type Both = [String; 2];

pub fn both(english: impl Into<String>, spanish: impl Into<String>) -> Both {
    [english.into(), spanish.into()]
}

/// An error that can be told in English and in Spanish.
pub trait Localized: Display {
    fn spanish(&self) -> String;

    fn both(&self) -> Both {
        [self.to_string(), self.spanish()]
    }

    fn in_language(&self, language: Language) -> String {
        language.pick_for_operator(Self::to_string as fn(&Self) -> String, Self::spanish)(self)
    }
}

/// The kinds that an administrator meets. The others stay in the system's own words.
impl Localized for io::Error {
    fn spanish(&self) -> String {
        match self.kind() {
            ErrorKind::NotFound => "no existe".to_owned(),
            ErrorKind::PermissionDenied => "permiso denegado".to_owned(),
            ErrorKind::IsADirectory => "es una carpeta".to_owned(),
            ErrorKind::NotADirectory => "una parte de la ruta no es una carpeta".to_owned(),
            ErrorKind::InvalidData => "no es texto UTF-8".to_owned(),
            ErrorKind::ReadOnlyFilesystem => "el disco es de solo lectura".to_owned(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "no hay espacio en el disco".to_owned(),
            _ => self.to_string(),
        }
    }
}
