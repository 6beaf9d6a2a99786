//! The guides' pictures of a Discord channel are drawn by hand. What they show is what the bot says.

use crate::support::read;

/// What follows each of these openings, up to the closing tag, without tags inside and in one line.
fn texts(svg: &str, opening: &str, closing: &str) -> Vec<String> {
    let inner = svg.split(opening).skip(1).map(|part| part.split_once(closing).unwrap().0.split_once('>').unwrap().1);
    let untagged = inner.map(|inner| {
        inner.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text)).collect::<String>()
    });
    untagged.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A reviewed sentence as Discord shows it, about agent 1001 without a name.
fn shown(sentence: &str, relative_time: &str) -> String {
    let sentence = sentence.replace("-# ", "").replace("**", "").replace(r"Ana \*Gómez\* (1001)", "1001");
    let sentence = sentence.replace("<@501>", "@ana").replace("<@502>", "@ana");
    sentence.replace("<t:1790000000:R>", relative_time).replace('\n', " ")
}

#[test]
fn the_pictures_show_real_replies() {
    let replies = read("tests/replies.txt");
    for (file, language, relative_time) in
        [("channel.svg", "English", "4 minutes ago"), ("channel.es.svg", "Spanish", "hace 4 minutos")]
    {
        let of_language = replies.split("\n\n").filter(|block| block.trim().starts_with(&format!("[{language}: ")));
        let sentences = of_language.map(|block| block.trim().split_once('\n').unwrap().1);
        let real: Vec<String> = sentences.map(|sentence| shown(sentence, relative_time)).collect();
        let svg = read(&format!(".github/{file}"));
        let drawn =
            [texts(&svg, "<g class=\"reply\"", "</g>"), texts(&svg, "<text class=\"button\"", "</text>")].concat();
        assert_eq!(drawn.len(), 4, "{file}: three replies and a button");
        for text in drawn {
            let text = text.replace("Luis Gómez (1001)", "1001").replace("María Peña (1002)", "1001");
            assert!(real.contains(&text), ".github/{file} shows what the bot does not say: {text}");
        }
    }
}
