//! Text from elsewhere: tables for each rule, and hostile texts made at random. `TEXT_SEED=n cargo test text` repeats
//! those.

use std::time::{Duration, Instant};

use fastrand::Rng;
use serenity::model::id::{InteractionId, UserId};
use wolkvox_bot::agent::{Agent, AgentId, Name};
use wolkvox_bot::command::Standing;
use wolkvox_bot::language::Language;
use wolkvox_bot::ledger::Conflict;
use wolkvox_bot::outcome::{Done, Outcome, Refusal, Rejected};
use wolkvox_bot::reply::{self, MAX_MESSAGE};
use wolkvox_bot::text::{escape, one_line, plain_text, truncate, width};

fn escape_markdown(text: &str, room: usize) -> String {
    escape(&plain_text(text), room)
}

#[test]
fn what_discord_would_read_as_more_than_text_is_escaped() {
    for (text, shown) in [
        ("", ""),
        ("plain words, 100% ok: (yes) 'fine'!", "plain words, 100% ok: (yes) 'fine'!"),
        ("*a* _b_ ~c~ `d` |e| f\\g", r"\*a\* \_b\_ \~c\~ \`d\` \|e\| f\\g"),
        ("[a](b)", r"\[a\](b)"),
        ("<@1> <#2> <:x:3> <t:4:R>", r"\<\@1> \<#2> \<\:x\:3> \<t\:4\:R>"),
        ("@everyone @here", r"\@everyone \@here"),
        ("@silent done", r"\@silent done"),
        ("https://wv_1.example/a_b", r"https\://wv\_1.example/a\_b"),
        (":100: :-) a:", r"\:100: \:-) a:"),
        ("a: b\u{A0}:\u{A0}c:\nd", "a: b\u{A0}:\u{A0}c:\nd"),
        ("# a\n  ## b # c", "\\# a\n  \\## b # c"),
        ("> a\n-# b\n+ c\n- d\ne - f > g + h", "\\> a\n\\-# b\n\\+ c\n\\- d\ne - f > g + h"),
        ("\u{3000}# a", "\\# a"),
        ("a\n\u{3000}# b", "a\n\u{3000}\\# b"),
        ("1. a\n 23. b\nc 4. d\n5.6.7\n.8", "1\\. a\n 23\\. b\nc 4. d\n5\\.6.7\n.8"),
        ("²1. a", "²1. a"),
    ] {
        assert_eq!(escape_markdown(text, MAX_MESSAGE), shown, "{text:?}");
    }
}

#[test]
fn text_that_is_too_long_is_cut_between_characters_and_escapes() {
    for (text, room, shown) in [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("ab🎙", 4, "ab🎙"),
        ("ab🎙c", 4, "ab…"),
        ("ab*", 4, r"ab\*"),
        ("ab*c", 4, "ab…"),
        ("ab*c", 5, r"ab\*c"),
        ("🎙", 1, "…"),
        ("**", 1, "…"),
    ] {
        assert_eq!(escape_markdown(text, room), shown, "{text:?}");
    }
    for (text, room, cut) in [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("ab🎙", 4, "ab🎙"),
        ("ab🎙c", 4, "ab…"),
        ("🎙🎙", 3, "🎙…"),
        ("", 1, ""),
        ("🎙", 1, "…"),
    ] {
        let mut text = text.to_owned();
        truncate(&mut text, room);
        assert_eq!(text, cut);
    }
}

#[test]
fn tags_are_left_out_and_other_words_in_angle_brackets_are_not() {
    for (text, plain) in [
        ("<b>done</b> for <i class=\"x\">1001</i>", "done for 1001"),
        ("a<br/>b<BR>c<h1>d</h1\n>e<!-- f -->g", "abcdeg"),
        ("Contact <soporte@wolkvox.com>", "Contact <soporte@wolkvox.com>"),
        ("see <https://wolkvox.com>", "see <https://wolkvox.com>"),
        ("3 < 4 and 5 > 4, x<y, a <3", "3 < 4 and 5 > 4, x<y, a <3"),
        ("<1> <-> <> </> <//b> <señor x>", "<1> <-> <> </> <//b> <señor x>"),
        // A tag ends before the next one begins.
        ("if x <y then <soporte@wolkvox.com>", "if x <y then <soporte@wolkvox.com>"),
        ("<<b>b> <b", "<b> <b"),
    ] {
        assert_eq!(plain_text(text), plain, "{text:?}");
    }
}

#[test]
fn text_that_would_vanish_without_its_tags_stays_unless_it_is_a_page() {
    for (text, plain) in [
        ("<sin nombre>", "<sin nombre>"),
        (" <b> </b> ", "<b> </b>"),
        ("<b>\u{202E}</b>", "<b></b>"),
        ("<!-- none -->", "<!-- none -->"),
        ("<header>", "<header>"),
        ("<Headset 12> is on", "is on"),
        ("<body@example.com> was told", "<body@example.com> was told"),
        ("\n <!DOCTYPE html><title>503</title>", ""),
        ("<html lang=\"en\">503", ""),
        ("<HEAD><title>503", ""),
        ("<body>503</body>", ""),
        ("\u{202E} \u{7}", ""),
    ] {
        assert_eq!(plain_text(text), plain, "{text:?}");
    }
}

#[test]
fn line_breaks_are_one_kind_and_direction_marks_and_controls_are_none() {
    for (text, plain, line) in [
        (" a\nb\r\nc\rd\u{2028}e\u{2029}f ", "a\nb\nc\nd\ne\nf", "a b  c d e f"),
        ("a\u{61C}\u{200E}\u{200F}\u{202A}\u{202E}\u{2066}\u{2069}b", "ab", "ab"),
        ("a\u{1b}[2Jb\tc\u{7F}d\u{9B}e", "a [2Jb c d e", "a [2Jb c d e"),
        // What emoji are joined with stays.
        ("👩\u{200D}💻", "👩\u{200D}💻", "👩\u{200D}💻"),
    ] {
        assert_eq!(plain_text(text), plain, "{text:?}");
        assert_eq!(plain_text(&one_line(text)), line, "{text:?}");
    }
}

#[test]
fn names_are_one_line_and_short_and_never_empty() {
    let name = |text| Name::new(text).map(|name| name.as_str().to_owned());
    assert_eq!(name(" Ana\r\nGómez "), Some("Ana  Gómez".to_owned()));
    assert_eq!(name("<sin nombre>"), Some("<sin nombre>".to_owned()));
    for nothing in ["", " \n ", "\u{202E}", "<html>"] {
        assert_eq!(name(nothing), None, "{nothing:?}");
    }
    let id = AgentId::try_from(AgentId::MAX).unwrap();
    assert_eq!(reply::choice(None, id), "9999999999");
    assert_eq!(Agent { id, name: None, is_unlisted: false }.to_string(), "9999999999");
    let long = Name::new(&"🎙".repeat(50)).unwrap();
    assert_eq!(long.as_str(), "🎙".repeat(39) + "…");
}

/// What Discord shows for `markdown`, as long as that is nothing but text. Whatever begins anything else is an error.
fn read(markdown: &str) -> Result<String, String> {
    for line in markdown.split('\n') {
        let line = line.trim_start();
        let after_number = line.trim_start_matches(|char: char| char.is_ascii_digit());
        if line.starts_with(['#', '>', '-', '+']) || (after_number.len() < line.len() && after_number.starts_with('.'))
        {
            return Err(format!("{line:?} begins a block"));
        }
    }
    let mut text = String::new();
    let mut chars = markdown.chars().peekable();
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        match char {
            '\\' => match chars.next() {
                Some(literal) if literal.is_ascii_punctuation() => text.push(literal),
                other => return Err(format!("a backslash before {other:?}")),
            },
            '*' | '_' | '~' | '`' | '|' | '<' | '[' | ']' | '@' => return Err(format!("{char} after {text:?}")),
            ':' if next.is_some_and(|next| !next.is_whitespace()) => return Err(format!(": before {next:?}")),
            '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                return Err(format!("a direction mark after {text:?}"));
            }
            '\u{2028}' | '\u{2029}' => return Err("a line break of another kind".to_owned()),
            char if char.is_control() && char != '\n' => return Err(format!("{char:?}")),
            char => text.push(char),
        }
    }
    Ok(text)
}

/// That `shown` is `plain`, or its beginning and "…".
fn assert_shows(shown: &str, plain: &str) {
    if read(shown).as_deref() == Ok(plain) {
        return;
    }
    let cut = shown.strip_suffix('…').unwrap_or_else(|| panic!("{:?}: {shown:?} is not {plain:?}", read(shown)));
    let text = read(cut).unwrap_or_else(|fault| panic!("{fault}: {shown:?}"));
    assert!(plain.starts_with(&text) && text.len() < plain.len(), "{shown:?} is not the beginning of {plain:?}");
}

fn hostile_text(rng: &mut Rng) -> String {
    const PIECES: &str = concat!(
        "\\§*§**§_§__§~~§`§```§||§<§>§[§]§(§)§@§:§#§-§-#§+§.§/§!§ §  §\n§\r§\r\n§\u{2028}§",
        "\u{2029}§\t§\u{0}§\u{1b}[31m§\u{9b}§\u{A0}§\u{3000}§\u{61C}§\u{200B}§\u{200D}§\u{200E}§",
        "\u{202E}§\u{2066}§\u{2069}§\u{301}§🎙§👩\u{200D}💻§é§ß§漢§…§a§Z§1§1.§12.§²§@everyone§@here§",
        "@silent §<@1>§<@!1>§<@&1>§<#1>§<:x:1>§<a:x:1>§<t:1:R>§</mute:1>§<id:home>§:100:§:-)§",
        "https://§http://a_b.c/d*e§https://b.c/x<@1>§<https://x.y>§[a](https://b.c)§discord.gg/x§",
        "# §### §> §>>> §- §* §1. §<b>§</b>§<br/>§<i class=\"x\">§<!-- c -->§<html>§<body §",
        "<sin nombre>§<soporte@wolkvox.com>§MUTE§Ana",
    );
    let pieces: Vec<&str> = PIECES.split('§').collect();
    let mut text = String::new();
    for _ in 0..rng.usize(0..30) {
        let piece = pieces[rng.usize(0..pieces.len())];
        let times = match rng.u32(0..40) {
            0 => rng.usize(1..2500),
            1..6 => rng.usize(1..40),
            _ => 1,
        };
        text.push_str(&piece.repeat(times));
        if rng.u32(0..10) == 0 {
            text.push(rng.char(..));
        }
    }
    text
}

#[test]
fn hostile_text_is_shown_as_text_and_fits() {
    let seed = std::env::var("TEXT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("TEXT_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    for _ in 0..500 {
        let text = hostile_text(&mut rng);
        let plain = plain_text(&text);
        let whole = escape_markdown(&text, usize::MAX);
        assert_eq!(read(&whole).as_deref(), Ok(plain.as_str()), "{text:?}");
        let room = rng.usize(1..MAX_MESSAGE);
        let shown = escape_markdown(&text, room);
        assert_shows(&shown, &plain);
        assert!(width(&shown) <= room, "{text:?} in {room}: {shown:?}");
        assert_eq!(width(&whole) <= room, shown == whole, "nothing is cut without need: {text:?} in {room}");

        let name = Name::new(&hostile_text(&mut rng));
        let id = AgentId::try_from(rng.u64(AgentId::MIN..=AgentId::MAX)).unwrap();
        let choice = reply::choice(name.as_ref(), id);
        assert!(width(&choice) <= 100 && !choice.contains(['\n', '\r', '\u{2028}', '\u{2029}']), "{choice:?}");
        let named = name.as_ref().map_or(id.to_string(), |name| format!("{} ({id})", name.as_str()));
        replies_hold(&Agent { id, name, is_unlisted: false }, &named, &text, &plain);
    }
}

/// Every reply with words from elsewhere fits, and shows the agent as `named` and Wolkvox's words as `plain`.
fn replies_hold(agent: &Agent, named: &str, text: &str, plain: &str) {
    let done = Outcome::Done(Done { code: 200, msg: text.to_owned() });
    let rejected = Outcome::Rejected(Rejected { code: 403, msg: text.to_owned(), reason: Refusal::Other });
    for (outcome, head, end) in [
        (&done, "", " · MUTE is a toggle: run the command again to undo it"),
        (&rejected, "**Refused by Wolkvox:** ", " · code 403"),
    ] {
        let reply = reply::outcome(Language::English, agent, outcome, None);
        assert!(width(&reply) <= MAX_MESSAGE, "{reply:?}");
        let (said, small_print) = reply.strip_prefix(head).unwrap().rsplit_once("\n-# Agent ").unwrap();
        assert_eq!(read(small_print.strip_suffix(end).unwrap()).as_deref(), Ok(named), "{small_print:?}");
        let hint = "\nCheck the agent's number. If it is right, tell your administrator.";
        let said = said.strip_suffix(hint).unwrap_or(said);
        match plain {
            "" => assert!(matches!(said, "Wolkvox reported success, without a message." | "it gave no reason.")),
            plain => assert_shows(said, plain),
        }
    }

    let line = reply::audit_line(Language::English, 0, 501, agent, &done);
    assert!(width(&line) <= MAX_MESSAGE && !line.contains('\n'), "{line:?}");
    let line = line.strip_prefix("<t:0:f> · <@501> · agent ").unwrap();
    let line = line.strip_prefix(&escape(named, MAX_MESSAGE)).unwrap().strip_prefix(" · done").unwrap();
    match plain {
        "" => assert_eq!(line, ""),
        _ => assert_shows(line.strip_prefix(": ").unwrap(), &plain_text(&one_line(text))),
    }

    let (command, by, ago) = (InteractionId::new(7), UserId::new(501), Duration::from_secs(3));
    let conflict = Conflict { command, by, ago, standing: Standing::Done };
    let question = reply::guarded(Language::English, agent, &conflict);
    let shown = question.strip_prefix("**Not sent:** <@501> toggled the microphone of agent ").unwrap();
    let shown = shown.strip_suffix(" 3 seconds ago. Going on would reverse that.").unwrap();
    assert_eq!(read(shown).as_deref(), Ok(named));
}

/// Work that grew with the square of the length would take minutes here, on any machine.
#[test]
fn the_work_grows_no_faster_than_the_text() {
    const LENGTH: usize = 2_000_000;
    let started = Instant::now();
    for piece in ["<", "<a", "<a ", "</", "<!"] {
        let text = piece.repeat(LENGTH / piece.len());
        assert!(plain_text(&text) == text.trim(), "{piece:?}");
    }
    for piece in ["1.", "."] {
        let text = piece.repeat(LENGTH / piece.len());
        assert!(width(&escape(&text, usize::MAX)) <= LENGTH + 1, "{piece:?}");
    }
    let name = Name::new(&"<a ".repeat(LENGTH)).unwrap();
    assert_eq!(width(name.as_str()), 80);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
