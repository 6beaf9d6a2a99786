//! Looks the variables up and collects the mistakes.

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::values::Parsed;
use super::variables::{VARIABLES, Variable, remedy};
use super::{GUIDE, Problems};
use crate::env_file::{self, EnvFile};
use crate::language::{Both, Language, Localized as _, both};

const COPY: &str = "Copy .env.example to .env there (not .env.txt) and fill it in, or start wolkvox-bot where the \
                    file is. Docker needs --env-file .env.";
const COPIA: &str = "Copia .env.example como .env allí (no .env.txt) y llénalo, o inicia wolkvox-bot donde está el \
                     archivo. Docker necesita --env-file .env.";

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    file: &'a EnvFile,
    /// False where all may be in a file that can't be read.
    tell_missing: bool,
    pub(super) warnings: Vec<String>,
    pub(super) problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>, file: &'a EnvFile) -> Self {
        let in_file = |name: &str| Some(file.of(name).last()?.value.clone());
        let language =
            Language::of_operator(|name| lookup(name).filter(|value| !value.is_empty()).or_else(|| in_file(name)));
        let problems = Problems { problems: Vec::new(), hint: None, language };
        Self { lookup, file, tell_missing: true, warnings: Vec::new(), problems }
    }

    /// Notes what is wrong with `.env` and its lines.
    pub(super) fn look_at_file(&mut self, path: &Path) {
        let mode = path.metadata().map_or(0, |file| file.permissions().mode());
        if mode & 0o077 != 0 {
            let problem = both("other users may read or change it", "otros usuarios pueden leerlo o cambiarlo");
            self.warn(env_file::NAME, problem, both("Protect it: chmod 600 .env", "Protégelo: chmod 600 .env"));
        }
        self.unreadable_lines();
        self.doubtful_lines();
        self.misspelt_names();
        let path = path.display();
        self.hint(format!("The environment and {path} were read."), format!("Se leyeron el entorno y {path}."));
    }

    /// A line that may set one of our variables is a mistake. Any other may be another program's.
    fn unreadable_lines(&mut self) {
        let remedy = || {
            both("Write NAME=value in UTF-8, or # and a comment", "Escribe NOMBRE=valor en UTF-8, o # y un comentario")
        };
        let problem = |lines: &[String]| match lines {
            [line] => both(format!("line {line} is not NAME=value"), format!("la línea {line} no es NOMBRE=valor")),
            lines => {
                let lines = lines.join(", ");
                both(format!("lines {lines} are not NAME=value"), format!("las líneas {lines} no son NOMBRE=valor"))
            }
        };
        let mut foreign = Vec::new();
        for (number, line) in &self.file.others {
            let line = line.to_ascii_uppercase().replace(['-', ' '], "_");
            match VARIABLES.iter().find(|variable| line.contains(variable.name)) {
                Some(variable) => self.report(variable.name, problem(&[number.to_string()]), remedy()),
                None => foreign.push(number.to_string()),
            }
        }
        if !foreign.is_empty() {
            self.warn(env_file::NAME, problem(&foreign), remedy());
        }
    }

    fn doubtful_lines(&mut self) {
        for Variable { name, .. } in VARIABLES {
            let (here, there) = (self.in_environment(name), self.in_file(name));
            let [english, spanish] = if here.is_some() && there.is_some() && here != there {
                [
                    "the environment has another value than .env; the one of the environment counts",
                    "el entorno tiene otro valor que .env; se usa el del entorno",
                ]
            } else if here.is_none() && self.file.of(name).count() > 1 {
                [
                    "it is set more than once in .env; the last one counts",
                    "está más de una vez en .env; se usa la última",
                ]
            } else if here.is_none() && self.file.of(name).any(|found| found.exported) {
                ["systemd and Docker take no line with export", "systemd y Docker no aceptan líneas con export"]
            } else {
                continue;
            };
            self.warn(
                name,
                both(english, spanish),
                both("Keep one line, of the form NAME=value", "Deja una sola línea, de la forma NOMBRE=valor"),
            );
        }
    }

    fn misspelt_names(&mut self) {
        for found in self.file.assignments.iter().filter(|found| !found.value.is_empty()) {
            let Some((Variable { name, .. }, elsewhere)) = Variable::meant_by(&found.name) else { continue };
            if self.in_environment(name).is_none() && !(elsewhere && self.value(name).is_some()) {
                self.misspelt(&found.name, name);
            }
        }
    }

    /// Docker and systemd put the lines of their file into the environment. What other programs use there is theirs.
    pub(super) fn misspelt_in_environment(&mut self, names: impl Iterator<Item = String>) {
        for found in names {
            if let Some((Variable { name, .. }, false)) = Variable::meant_by(&found)
                && self.value(name).is_none()
            {
                self.misspelt(&found, name);
            }
        }
    }

    fn misspelt(&mut self, found: &str, name: &str) {
        let problem = both("the bot has no such variable", "el bot no tiene esa variable");
        let remedy = both(format!("If {name} is meant, correct it"), format!("Si querías definir {name}, corrígelo"));
        self.warn(found, problem, remedy);
    }

    /// Notes why `.env` was not read. It is needed if the environment is not complete.
    pub(super) fn without_file(&mut self, error: &io::Error, path: &Path) {
        let (path, kind, clase) = (path.display(), error.kind(), error.spanish());
        let problem = both(format!("{path} can't be read ({kind})"), format!("no se puede leer {path} ({clase})"));
        let remedy = both(
            "Make it UTF-8 text that wolkvox-bot may read; Docker makes a folder if the file to mount is missing",
            "Debe ser texto UTF-8 que wolkvox-bot pueda leer; Docker crea una carpeta si falta el archivo que monta",
        );
        let mut required = VARIABLES.iter().filter(|variable| variable.required);
        let is_needed = required.clone().any(|variable| self.value(variable.name).is_none());
        match (kind, is_needed) {
            (ErrorKind::NotFound, false) => {}
            (ErrorKind::NotFound, true) => {
                let guide = format!("The guide, and a sandbox without credentials: {}", GUIDE[0]);
                let guia = format!("La guía, y un entorno de pruebas sin credenciales: {}", GUIDE[1]);
                if required.any(|variable| (self.lookup)(variable.name).is_some()) {
                    // Docker or systemd has read another file.
                    self.hint(guide, guia);
                } else {
                    self.hint(
                        format!("{path} does not exist. {COPY}\n{guide}"),
                        format!("{path} no existe. {COPIA}\n{guia}"),
                    );
                }
            }
            (_, false) => self.warn(env_file::NAME, problem, remedy),
            (_, true) => {
                self.report(env_file::NAME, problem, remedy);
                self.tell_missing = false;
            }
        }
    }

    fn hint(&mut self, english: String, spanish: String) {
        self.problems.hint = Some(self.pick([english, spanish]));
    }

    fn pick(&self, [english, spanish]: Both) -> String {
        self.problems.language.pick_for_operator(english, spanish)
    }

    fn in_environment(&self, name: &str) -> Option<String> {
        let value = |name: String| Some(env_file::unquoted(&(self.lookup)(&name)?).to_owned());
        Variable::named(name)?.spellings().filter_map(value).find(|value| !value.is_empty())
    }

    fn in_file(&self, name: &str) -> Option<String> {
        let value = |name: String| Some(self.file.of(&name).last()?.value.clone());
        Variable::named(name)?.spellings().filter_map(value).find(|value| !value.is_empty())
    }

    /// The value, if it is not blank.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.in_environment(name).or_else(|| self.in_file(name))
    }

    /// The value or the default, parsed; `None`, and a mistake noted, where it is missing or wrong.
    pub(super) fn get<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        let default = || Some(Variable::named(name)?.default.to_owned()).filter(|default| !default.is_empty());
        let Some(value) = self.value(name).or_else(default) else {
            let told = self.problems.problems.iter().any(|problem| problem.starts_with(name));
            if self.tell_missing && !told {
                self.report(name, both("it is missing", "falta"), remedy(name));
            }
            return None;
        };
        parse(&value).map_err(|problem| self.report(name, problem, remedy(name))).ok()
    }

    /// `Some(None)` where it is not set, `None` where it is wrong.
    pub(super) fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<Option<T>> {
        if self.value(name).is_some() { self.get(name, parse).map(Some) } else { Some(None) }
    }

    pub(super) fn report(&mut self, name: &str, problem: Both, [mut english, mut spanish]: Both) {
        // Other programs take this for the beginning of a comment.
        if self.value(name).is_some_and(|value| value.contains(" #")) {
            english += ". A comment needs a line of its own";
            spanish += ". Un comentario va en su propia línea";
        }
        let problem = self.told(name, problem, [english, spanish]);
        self.problems.problems.push(problem);
    }

    pub(super) fn warn(&mut self, name: &str, problem: Both, remedy: Both) {
        let warning = self.told(name, problem, remedy);
        self.warnings.push(warning);
    }

    fn told(&self, name: &str, problem: Both, remedy: Both) -> String {
        format!("{name}: {}. {}.", self.pick(problem), self.pick(remedy))
    }
}
