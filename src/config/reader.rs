//! Looks the variables up and collects the mistakes.

use std::io::{self, ErrorKind};
use std::path::Path;

use secrecy::SecretString;

use super::values::{Both, both, is_discord_token, is_wolkvox_token};
use super::variables::{DISCORD_TOKEN, VARIABLES, Variable, WOLKVOX_TOKEN};
use super::{Problem, Problems};
use crate::env_file::{self, EnvFile};
use crate::language::Language;

pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    file: &'a EnvFile,
    /// Not where a file that can't be read may have them all.
    tell_missing: bool,
    pub(super) warnings: Vec<Problem>,
    pub(super) problems: Problems,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>, file: &'a EnvFile) -> Self {
        let problems = Problems { problems: Vec::new(), hint: None, language: Language::of_operator(lookup) };
        Self { lookup, file, tell_missing: true, warnings: Vec::new(), problems }
    }

    /// Takes note of what is wrong with the lines of `.env`.
    pub(super) fn look_at_file(&mut self, directory: &Path) {
        self.foreign_lines();
        let mut exported = Vec::new();
        for variable in VARIABLES {
            if self.in_environment(variable).is_some() {
                continue;
            }
            if variable.spellings().any(|name| self.file.of(&name).any(|assignment| assignment.exported)) {
                exported.push(variable.name);
            }
            let lines: Vec<String> = self.file.of(variable.name).map(|found| found.line.to_string()).collect();
            let lines = if lines.len() > 1 { lines.join(", ") } else { continue };
            let problem = both(
                format!("it is set more than once in .env (lines {lines}); the last one counts"),
                format!("está más de una vez en .env (líneas {lines}); se usa la última"),
            );
            self.warn(variable.name, problem, both("Keep one of these lines", "Deja solo una de esas líneas"));
        }
        if !exported.is_empty() {
            let problem = both(
                "the line in .env begins with export: systemd drops it and Docker refuses it",
                "la línea en .env empieza con export: systemd la ignora y Docker la rechaza",
            );
            self.warn(&exported.join(", "), problem, both("Take that word away", "Borra esa palabra"));
        }
        self.misspelt_names();
        let path = directory.join(env_file::NAME).display().to_string();
        self.hint(
            format!("The environment and the file {path} were read."),
            format!("Se leyeron las variables de entorno y el archivo {path}."),
        );
    }

    fn foreign_lines(&mut self) {
        let remedy =
            both("Write NAME=value, or # before a comment", "Escribe NOMBRE=valor, o # antes de un comentario");
        let mut foreign = Vec::new();
        for (number, line) in &self.file.others {
            let Some(variable) = Variable::meant_by_line(line) else {
                foreign.push(number.to_string());
                continue;
            };
            let english = format!("line {number} of .env can't be read");
            let problem = both(english, format!("no se puede leer la línea {number} de .env"));
            self.report(&[variable], problem, remedy.clone());
        }
        if !foreign.is_empty() {
            let lines = foreign.join(", ");
            let english = format!("what can't be read is left out: line {lines}");
            let problem = both(english, format!("se omite lo que no se puede leer: línea {lines}"));
            self.warn(env_file::NAME, problem, remedy);
        }
    }

    fn misspelt_names(&mut self) {
        for found in self.file.assignments.iter().filter(|found| !found.value.is_empty()) {
            let Some((meant, elsewhere)) = Variable::meant_by(&found.name) else { continue };
            let is_set = self.value(meant).is_some();
            // A required variable that is missing is an error, which names this one.
            let told = meant.required && !is_set;
            if told || elsewhere && is_set || self.in_environment(meant).is_some() {
                continue;
            }
            let problem =
                both("the bot has no variable of this name", "el bot no tiene ninguna variable con este nombre");
            let remedy = both(
                format!("If {} is meant, correct it in .env", meant.name),
                format!("Si querías definir {}, corrígelo en .env", meant.name),
            );
            self.warn(&found.name, problem, remedy);
        }
    }

    /// Takes note of why there is no `.env`, and decides whether that is a mistake.
    pub(super) fn without_file(&mut self, error: &io::Error, directory: &Path) {
        let required = VARIABLES.into_iter().filter(|variable| variable.required);
        let missing = required.clone().filter(|variable| self.value(*variable).is_none()).count();
        let names = required.map(|variable| variable.name).collect::<Vec<_>>();
        let absent = error.kind() == ErrorKind::NotFound && !directory.join(TEXT_NAME).exists();
        let [problem, remedy] = file_fault(error, directory);
        match (missing, absent) {
            (0, true) => {}
            // Nobody needs the file, but there may be more in it.
            (0, false) => self.warn(env_file::NAME, problem, remedy),
            (some, true) if some < names.len() => self.hint(
                format!("Only the environment was read: there is no file .env in {}.", directory.display()),
                format!("Solo se leyeron las variables de entorno: no hay un archivo .env en {}.", directory.display()),
            ),
            _ => {
                let problem = self.problem(env_file::NAME, problem, remedy);
                self.problems.problems.push(problem);
                self.tell_missing = false;
                if absent {
                    let names = names.join(", ");
                    self.hint(
                        format!(
                            "Without a file, set these in the environment: {names}.\n\
                             To look around first, without any credentials: cargo run --example sandbox"
                        ),
                        format!(
                            "Sin archivo, define estas variables de entorno: {names}.\n\
                             Para probarlo antes, sin credenciales: cargo run --example sandbox"
                        ),
                    );
                }
            }
        }
    }

    fn hint(&mut self, english: impl Into<String>, spanish: impl Into<String>) {
        self.problems.hint = Some(self.pick(both(english, spanish)));
    }

    fn pick(&self, [english, spanish]: Both) -> String {
        self.problems.language.pick_for_operator(english, spanish)
    }

    fn in_environment(&self, variable: Variable) -> Option<String> {
        let value = |name: String| Some(env_file::unquoted(&(self.lookup)(&name)?).to_owned());
        variable.spellings().filter_map(value).find(|value| !value.is_empty())
    }

    fn in_file(&self, variable: Variable) -> Option<&str> {
        let value = |name: String| Some(self.file.of(&name).last()?.value.as_str());
        variable.spellings().filter_map(value).find(|value| !value.is_empty())
    }

    /// The value, if it is not blank.
    pub(super) fn value(&self, variable: Variable) -> Option<String> {
        self.in_environment(variable).or_else(|| self.in_file(variable).map(str::to_owned))
    }

    /// Whether `.env` has another value than the environment, which wins.
    pub(super) fn is_overridden(&self, variable: Variable) -> bool {
        let (here, there) = (self.in_environment(variable), self.in_file(variable));
        here.is_some() && there.is_some() && here.as_deref() != there
    }

    /// The value or the default, parsed; `None`, and a mistake noted, where it is missing or wrong.
    pub(super) fn get<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Result<T, Both>) -> Option<T> {
        let default = || Some(variable.default.to_owned()).filter(|default| !default.is_empty());
        let Some(value) = self.value(variable).or_else(default) else {
            self.missing(variable);
            return None;
        };
        parse(&value).map_err(|problem| self.report(&[variable], problem, variable.remedy())).ok()
    }

    /// `Some(None)` where it is not set, `None` where it is wrong.
    pub(super) fn optional<T>(
        &mut self,
        variable: Variable,
        parse: impl FnOnce(&str) -> Result<T, Both>,
    ) -> Option<Option<T>> {
        if self.value(variable).is_some() { self.get(variable, parse).map(Some) } else { Some(None) }
    }

    fn missing(&mut self, variable: Variable) {
        let told = self.problems.problems.iter().any(|problem| problem.variable == variable.name);
        if told || !self.tell_missing {
            return;
        }
        let is_meant = |name: &str| Variable::meant_by(name).is_some_and(|(meant, _)| meant == variable);
        let near = self.file.assignments.iter().find(|found| !found.value.is_empty() && is_meant(&found.name));
        let ([mut english, mut spanish], mut problem) = (variable.remedy(), both("it is missing", "falta"));
        if let Some(name) = near.map(|found| &found.name) {
            problem = both(format!("it is missing, but .env has {name}"), format!("falta, pero en .env está {name}"));
            english.insert_str(0, "If that is meant, correct its name. ");
            spanish.insert_str(0, "Si es esa, corrige el nombre. ");
        }
        self.report(&[variable], problem, [english, spanish]);
    }

    /// The tokens, but none that is the other company's, which must not be sent. What looks like neither may be either's.
    pub(super) fn in_their_places(&mut self, tokens: [Option<String>; 2]) -> [Option<SecretString>; 2] {
        let [discord, wolkvox] = tokens.each_ref().map(|token| token.as_deref().unwrap_or_default());
        let strays = is_discord_token(wolkvox);
        let (variables, problem): (&[Variable], _) = if strays && !discord.is_empty() && !is_discord_token(discord) {
            let problem = both("the two tokens are swapped", "los dos tokens están intercambiados");
            (&[DISCORD_TOKEN, WOLKVOX_TOKEN], problem)
        } else if strays {
            let problem = both("it is a token of Discord, not of Wolkvox", "es un token de Discord, no de Wolkvox");
            (&[WOLKVOX_TOKEN], problem)
        } else if is_wolkvox_token(discord) {
            // Discord's page shows the application's public key, 64 such digits, below its id.
            let problem = both(
                "it is a token of Wolkvox or the application's Public Key, not the bot's token",
                "es un token de Wolkvox o la clave pública (Public Key) de la aplicación, no el token del bot",
            );
            (&[DISCORD_TOKEN], problem)
        } else {
            return tokens.map(|token| token.map(SecretString::from));
        };
        let swap = both("Put each in the place of the other", "Pon cada uno en el lugar del otro");
        self.report(variables, problem, if let [one] = variables { one.remedy() } else { swap });
        let [discord, wolkvox] = tokens.map(|token| token.map(SecretString::from));
        let kept = |variable| !variables.contains(&variable);
        [discord.filter(|_| kept(DISCORD_TOKEN)), wolkvox.filter(|_| kept(WOLKVOX_TOKEN))]
    }

    /// Takes note of a mistake in these variables.
    pub(super) fn report(&mut self, variables: &[Variable], problem: Both, [mut english, mut spanish]: Both) {
        // Other programs take this for the beginning of a comment.
        if variables.iter().any(|variable| self.value(*variable).is_some_and(|value| value.contains(" #"))) {
            english += ". A comment needs a line of its own";
            spanish += ". Un comentario va en su propia línea";
        }
        if variables.iter().any(|variable| self.is_overridden(*variable)) {
            english += ". The value comes from the environment, which wins over .env";
            spanish += ". El valor viene del entorno, que prevalece sobre .env";
        }
        let names: Vec<&str> = variables.iter().map(|variable| variable.name).collect();
        let problem = self.problem(&names.join(", "), problem, [english, spanish]);
        self.problems.problems.push(problem);
    }

    pub(super) fn warn(&mut self, variable: &str, problem: Both, remedy: Both) {
        let warning = self.problem(variable, problem, remedy);
        self.warnings.push(warning);
    }

    fn problem(&self, variable: &str, problem: Both, remedy: Both) -> Problem {
        Problem { variable: variable.to_owned(), problem: self.pick(problem), remedy: self.pick(remedy) }
    }
}

/// What Windows' editors make of the file's name.
const TEXT_NAME: &str = ".env.txt";

/// Why nothing is known of the file's contents, and the remedy.
fn file_fault(error: &io::Error, directory: &Path) -> [Both; 2] {
    let path = directory.join(env_file::NAME);
    let (path, folder) = (path.display(), directory.display());
    let absent = both(format!("there is no such file in {folder}"), format!("no existe ese archivo en {folder}"));
    let (problem, english, spanish) = match error.kind() {
        ErrorKind::NotFound if directory.join(TEXT_NAME).exists() => (
            both(
                format!("{}, but one with the name .env.txt", absent[0]),
                format!("{}, pero sí uno llamado .env.txt", absent[1]),
            ),
            "Rename it to .env (Windows hides the .txt as long as \"File name extensions\" is off)",
            "Cámbiale el nombre a .env (Windows oculta el .txt si no muestra \"Extensiones de nombre de archivo\")",
        ),
        ErrorKind::NotFound => (
            absent,
            "Copy .env.example to .env there and fill it in, or start wolkvox-bot in the directory that has the file",
            "Copia .env.example como .env allí y llénalo, o inicia wolkvox-bot en el directorio donde está el archivo",
        ),
        ErrorKind::IsADirectory => (
            both(format!("{path} is a directory, not a file"), format!("{path} es un directorio, no un archivo")),
            "Remove it and put the file there; Docker makes such a directory where the file to mount is missing",
            "Elimínalo y pon allí el archivo; Docker crea ese directorio cuando falta el archivo que debe montar",
        ),
        ErrorKind::InvalidData => (
            both(format!("{path} is not UTF-8 text"), format!("{path} no es texto UTF-8")),
            "Save it with the encoding UTF-8 in your editor",
            "Guárdalo con la codificación UTF-8 en tu editor",
        ),
        kind => {
            let reason = if kind == ErrorKind::PermissionDenied { "permiso denegado" } else { &kind.to_string() };
            (
                both(format!("{path} can't be read ({kind})"), format!("no se puede leer {path} ({reason})")),
                "Make the file and its directory readable for the user that runs wolkvox-bot",
                "Da permiso de lectura del archivo y su directorio al usuario que ejecuta wolkvox-bot",
            )
        }
    };
    [problem, both(english, spanish)]
}
