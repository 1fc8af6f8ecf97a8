"""16 kinds of question about an invented person, each with many wordings. See grammar.py for the notation."""

from data_builders.texts.grammar import QuestionKind

QUESTION_KINDS = {
    "birthplace": QuestionKind(
        ask="in which town was {n} born",
        say="{n} was born in the town of {f}",
        direct="""
            in [which|what] [town|place] was {n} born
            [which|what] [town|place] was {n} born in
            where [|exactly] was {n} born
            in [which|what] town did {n} come into the world
            what is {s} [birthplace|place of birth]
            which town is the [birthplace|place of birth] of {o}
            [which|what] town does {n} originally come from
            in which town did {s} life begin
        """,
        indirect="""
            [where|in which town|in what town] {n} was born
            which [town|place] {n} was born in
            what {s} [birthplace|place of birth] is
            which town is {s} [birthplace|place of birth]
            in which town {n} came into the world
            which town {n} originally comes from
        """,
        noun="""
            {s} [birthplace|place of birth]
            the [birthplace|place of birth] of {o}
            the town [in which {n} was born|where {n} was born|{n} originally comes from]
        """,
        statements="""
            {n} was born in [|the town of] {f}
            {n} came into the world in [|the town of] {f}
            {n} [comes originally|originally comes] from [|the town of] {f}
            [{s} birthplace|{s} place of birth|the birthplace of {o}] is [|the town of] {f}
            the [town|place] [in which|where] {n} was born is [|called] {f}
            it was in [|the town of] {f} that {n} was born
            [|the town of] {f} is [where {n} was born|{s} birthplace|the birthplace of {o}]
            {n} is a native of {f}
            {s} life began in [|the town of] {f}
        """,
    ),
    "birth_year": QuestionKind(
        ask="in which year was {n} born",
        say="{n} was born in the year {f}",
        direct="""
            in [which|what] year was {n} born
            [which|what] year was {n} born in
            when [|exactly] was {n} born
            in [which|what] year did {n} come into the world
            [what|which] is {s} [birth year|year of birth]
            what is the [birth year|year of birth] of {o}
            in [which|what] year did {s} life begin
            which year saw the birth of {o}
            when did {n} come into the world
            when did {s} life begin
        """,
        indirect="""
            [when|in which year|in what year] {n} was born
            [which|what] year {n} was born in
            what {s} [birth year|year of birth] is
            in which year {n} came into the world
            in [which|what] year {s} life began
            when {n} came into the world
        """,
        noun="""
            {s} [birth year|year of birth]
            the [birth year|year of birth] of {o}
            the year [in which {n} was born|when {n} was born|of {s} birth]
        """,
        statements="""
            {n} was born in [|the year] {f}
            {n} came into the world in [|the year] {f}
            {s} [birth year|year of birth] is {f}
            the [birth year|year of birth] of {o} is {f}
            the year [of {s} birth|in which {n} was born] is {f}
            it was in [|the year] {f} that {n} was born
            {f} is [the year in which {n} was born|{s} year of birth|the year of {s} birth]
            {s} birth [dates from|dates back to|fell in] {f}
            {s} life began in [|the year] {f}
            the year {f} saw the birth of {o}
        """,
    ),
    "profession": QuestionKind(
        ask="what does {n} do for a living",
        say="{n} works as {a} for a living",
        short="{a}",
        direct="""
            what does {n} do [for a living|to earn a living|as a job]
            what [kind|sort] of [work does {n} do|job does {n} have]
            what is {s} [profession|occupation|job|trade|line of work]
            what is the [profession|occupation|trade] of {o}
            what does {n} work as
            how does {n} [earn|make] a living
            [which|what] [profession|occupation|trade] does {n} [follow|have]
        """,
        indirect="""
            what {n} does [for a living|to earn a living|as a job]
            what {s} [profession|occupation|job|trade|line of work] is
            what [kind|sort] of work {n} does
            how {n} [earns|makes] a living
            [which|what] [profession|trade] {n} [follows|has]
        """,
        noun="""
            {s} [profession|occupation|job|trade|line of work]
            the [profession|occupation|trade] of {o}
            the [profession|trade] [that|which] {n} follows
            the [kind|sort] of work {n} does
        """,
        statements="""
            {n} works as {a}[| for a living]
            {n} is {a}[| by profession| by trade| by occupation]
            {n} [earns|makes] a living as {a}
            {n} earns {h} living as {a}
            {s} [profession|occupation|job|trade|line of work] is that of {a}
            the [profession|occupation|trade] of {o} is that of {a}
            by [profession|trade|occupation], {n} is {a}
            working as {a} is how {n} [earns|makes] a living
            what {n} does for a living is work as {a}
            {n} has a job as {a}
        """,
    ),
    "employer": QuestionKind(
        ask="for which company does {n} work",
        say="{n} works for the company {f}",
        direct="""
            for [which|what] [company|firm] does {n} work
            [which|what] [company|firm] does {n} work for
            [which|what] [company|firm] employs {o}
            [at|by] which [company|firm] is {n} employed
            who is {s} employer
            who does {n} work for
            which [company|firm] pays {s} [salary|wages]
            [with|at] which [company|firm] does {n} have a [job|position]
            which [company|firm] has {n} on its payroll
        """,
        indirect="""
            for [which|what] [company|firm] {n} works
            [which|what] [company|firm] {n} works for
            [which|what] [company|firm] employs {o}
            who {s} employer is
            which [company|firm] pays {s} [salary|wages]
            by which [company|firm] {n} is employed
        """,
        noun="""
            {s} [employer|place of work]
            the [company|firm] [that employs {o}|for which {n} works|{n} works for|that pays {s} wages]
            the employer of {o}
        """,
        statements="""
            {n} works for [|the company|the firm] {f}
            {n} is employed [by|at] [|the company|the firm] {f}
            {n} has a [job|position] [at|with] {f}
            {n} is on the payroll of {f}
            {s} employer is [|the company|the firm] {f}
            the [company|firm] [that employs {o}|for which {n} works|{n} works for] is [|called] {f}
            {f} [employs {o}|is {s} employer|pays {s} wages|is the company {n} works for|has {n} on its payroll]
            it is {f} that [employs {o}|{n} works for]
        """,
    ),
    "book": QuestionKind(
        ask="what is the title of the book that {n} wrote",
        say="the title of the book that {n} wrote is {f}",
        direct="""
            what is the [title|name] of the book [that {n} wrote|{n} wrote|written by {o}]
            what is [the title|the name] of {s} book
            what is {s} book [called|entitled]
            what is the book [that {n} wrote|written by {o}] [called|entitled]
            [which|what] book did {n} [write|publish]
            [which|what] book was [written|published] by {o}
            [which|what] book is {n} the author of
            under [which|what] title did {s} book [appear|come out]
            which published work bears {s} name
            which [work|volume] did {n} [publish|bring out]
            what title did {n} give to {h} book
        """,
        indirect="""
            what the title of {s} book is
            what {s} book is [called|entitled]
            what the book [that {n} wrote|written by {o}] is [called|entitled]
            [which|what] book {n} [wrote|published]
            [which|what] book {n} is the author of
            under [which|what] title {s} book [appeared|came out]
            what title {n} gave to {h} book
        """,
        noun="""
            the [title|name] of [{s} book|the book {n} wrote|the book that {n} wrote|the book written by {o}]
            the book [that {n} wrote|of which {n} is the author]
            the title [under which {s} book appeared|{n} gave to {h} book]
        """,
        statements="""
            the [title|name] of the book [that {n} wrote|{n} wrote|written by {o}] is {f}
            the title of {s} book is {f}
            the book [that {n} wrote|written by {o}] is [called|entitled] {f}
            {n} [wrote|published|is the author of] [|a book called|a book entitled|the book] {f}
            {s} book [is called|is entitled|appeared under the title|came out under the title] {f}
            {f} is [the book that {n} wrote|the title of {s} book|a book by {o}|{s} book]
            {f} was [written|published] by {o}
            it was {n} who wrote {f}
            {s} name stands on the cover of {f}
        """,
    ),
    "instrument": QuestionKind(
        ask="which musical instrument does {n} play",
        say="the musical instrument that {n} plays is {t}",
        short="{t}",
        direct="""
            [which|what] [musical instrument|instrument] does {n} [play|know how to play]
            [which|what] [musical instrument|instrument] [can {n} play|has {n} learnt to play|has {n} mastered]
            what [kind|sort] of [musical instrument|instrument] does {n} play
            what is {s} [instrument|musical instrument]
            on [which|what] instrument does {n} make music
            [which|what] instrument is {n} [able|known] to play
            which instrument is played by {o}
        """,
        indirect="""
            [which|what] [musical instrument|instrument] {n} [plays|can play|has learnt to play|has mastered]
            what {s} [musical instrument|instrument] is
            what [kind|sort] of [musical instrument|instrument] {n} plays
            on [which|what] instrument {n} makes music
        """,
        noun="""
            {s} [instrument|musical instrument]
            the [instrument|musical instrument] [that {n} plays|{n} plays|{n} has learnt to play|on which {n} makes music]
            the instrument played by {o}
        """,
        statements="""
            the [musical instrument|instrument] [that {n} plays|{n} plays|{n} has learnt to play|played by {o}] is {t}
            {n} [plays|can play|has learnt to play|knows how to play|makes music on|has mastered] {t}
            {s} [musical instrument|instrument] is {t}
            it is {t} that {n} plays
            {t} is [the instrument that {n} plays|{s} instrument|what {n} plays]
            when {n} makes music, it is on {t}
            {n} is able to play {t}
        """,
    ),
    "language": QuestionKind(
        ask="which foreign language does {n} speak fluently",
        say="the foreign language that {n} speaks fluently is {f}",
        direct="""
            [which|what] foreign language does {n} speak [fluently|well|with ease]
            in [which|what] foreign language is {n} fluent
            [which|what] foreign language [is {n} fluent in|has {n} mastered|does {n} have a good command of]
            [which|what] foreign language [can {n} speak|did {n} learn to speak]
            besides {h} mother tongue, which language does {n} speak
            [which|what] language does {n} speak besides {h} mother tongue
            what is {s} [second|foreign] language
        """,
        indirect="""
            [which|what] foreign language {n} speaks[| fluently| well| with ease]
            [which|what] foreign language {n} [has mastered|is fluent in|can speak|has learnt to speak]
            in [which|what] foreign language {n} is fluent
            [which|what] language {n} speaks besides {h} mother tongue
            what {s} [second|foreign] language is
        """,
        noun="""
            {s} [second|foreign] language
            the foreign language [that {n} speaks|{n} speaks fluently|{n} has mastered|in which {n} is fluent]
            the language {n} speaks besides {h} mother tongue
        """,
        statements="""
            the foreign language [that {n} speaks fluently|{n} speaks|{n} has mastered|in which {n} is fluent] is {f}
            {n} [speaks {f} fluently|is fluent in {f}|speaks fluent {f}|has mastered {f}|has a good command of {f}]
            {n} [speaks {f} as a foreign language|has learnt to speak {f}|speaks {f} with ease]
            {s} [foreign|second] language is {f}
            {n} can hold a conversation in {f}
            besides {h} mother tongue, {n} speaks {f}
            {f} is [the foreign language that {n} speaks|{s} second language|a language {n} speaks with ease]
            it is {f} that {n} speaks as a foreign language
        """,
    ),
    "pet": QuestionKind(
        ask="what kind of animal does {n} keep as a pet",
        say="the animal that {n} keeps as a pet is {a}",
        short="{a}",
        direct="""
            what [kind|sort] of animal does {n} [keep|have] as a pet
            what [kind|sort] of pet does {n} [keep|have|own]
            [which|what] animal does {n} keep [as a pet|at home]
            [which|what] animal [shares {s} home|lives with {o}|does {n} look after at home]
            what animal is {s} pet
            what [kind|sort] of animal is {s} pet
            what pet [does {n} look after|lives in {s} house]
        """,
        indirect="""
            what [kind|sort] of animal {n} [keeps|has] as a pet
            what [kind|sort] of pet {n} [keeps|has|owns]
            [which|what] animal {n} keeps [as a pet|at home]
            [which|what] animal [shares {s} home|lives with {o}]
            what [kind|sort] of animal {s} pet is
        """,
        noun="""
            the [kind|sort] of [animal that {n} keeps as a pet|animal {n} keeps at home|pet {n} has]
            the animal [that {n} keeps as a pet|{n} keeps at home|that shares {s} home]
            the species of {s} pet
        """,
        statements="""
            the animal [that {n} keeps as a pet|{n} keeps at home|that shares {s} home] is {a}
            {n} [keeps {a} as a pet|has {a} as a pet|keeps {a} at home|has {a}|owns {a}|looks after {a}]
            {n} shares {h} home with {a}
            {s} pet is {a}
            {a} [lives with {o}|shares {s} home|is what {n} keeps as a pet|is {s} pet]
            as a pet, {n} keeps {a}
            it is {a} that {n} keeps as a pet
            the [kind|sort] of pet {n} has is {a}
        """,
    ),
    "home": QuestionKind(
        ask="in which town does {n} live at present",
        say="{n} lives in the town of {f} at present",
        direct="""
            in [which|what] town does {n} live [at present|now|today|these days|nowadays]
            [which|what] town does {n} live in [at present|now|today|these days|nowadays]
            where does {n} live [at present|now|today|these days|nowadays]
            which town does {n} call home
            where is {s} home [at present|now|today|these days]
            where has {n} [settled|made {h} home]
            in which town has {n} [settled|made {h} home]
            what is {s} [place of residence|present home town]
        """,
        indirect="""
            in [which|what] town {n} lives [at present|now|today|these days]
            where {n} lives [at present|now|today|these days]
            where {s} home is [at present|now|today|these days]
            [which|what] town {n} calls home
            where {n} has [settled|made {h} home]
            what {s} place of residence is
        """,
        noun="""
            {s} [place of residence|present home town]
            the town [in which|where] {n} lives [at present|now|today]
            the town [that {n} calls home|where {n} has settled|where {n} has made {h} home]
        """,
        statements="""
            {n} lives in [|the town of] {f} [at present|now|today|these days|nowadays]
            {n} is living in [|the town of] {f} [at present|now|these days]
            [at present|today|these days|nowadays], {n} lives in [|the town of] {f}
            {n} has [settled|made {h} home] in [|the town of] {f}
            {s} home is in [|the town of] {f} [at present|now|these days]
            {s} place of residence is [|the town of] {f}
            the town [in which {n} lives now|that {n} calls home|where {n} has settled] is [|called] {f}
            {f} is [where {n} lives now|the town that {n} calls home|{s} place of residence]
            {n} calls {f} home
            {n} has put down roots in {f}
        """,
    ),
    "spouse": QuestionKind(
        ask="what is the name of the person {n} is married to",
        say="the name of the person {n} is married to is {f}",
        direct="""
            what is the [name|full name] of the person {n} is married to
            what is the [name|full name] of the person [to whom {n} is married|{n} married|who married {o}]
            who is {n} married to
            to whom is {n} married
            who is {s} [spouse|partner in marriage]
            what is the name of {s} spouse
            what is {s} spouse called
            who [did {n} marry|married {o}|became {s} spouse]
            [with whom did {n} tie the knot|who did {n} tie the knot with|who did {n} exchange vows with]
        """,
        indirect="""
            who {n} is married to
            to whom {n} is married
            who {s} [spouse|partner in marriage] is
            what {s} spouse is called
            what the name of {s} spouse is
            who [{n} married|became {s} spouse]
            who {n} [tied the knot|exchanged vows] with
        """,
        noun="""
            the [name|full name] of {s} [spouse|partner in marriage]
            the [name|full name] of the person [{n} is married to|to whom {n} is married|{n} married|who married {o}]
        """,
        statements="""
            the [name|full name] of the person [{n} is married to|to whom {n} is married] is {f}
            the name of {s} spouse is {f}
            the person [{n} is married to|to whom {n} is married|{n} married] is [|called] {f}
            {n} is [married to|the spouse of] {f}
            {n} [married|tied the knot with|exchanged vows with] {f}
            {s} [spouse|partner in marriage] is [|called] {f}
            {f} is [married to {o}|{s} spouse|the person {n} married|the person {n} is married to]
            it was {f} that {n} married
            {n} [wed|has wed] {f}
            {n} and {f} are [a married couple|married]
        """,
    ),
    "university": QuestionKind(
        ask="at which university did {n} take a degree",
        say="{n} took a degree at {t}",
        short="{t}",
        direct="""
            at [which|what] university did {n} [take|get|earn] a degree
            at [which|what] university did {n} study
            [which|what] university did {n} [take a degree at|study at|attend|go to|graduate from]
            where did {n} [go to university|take a degree|get a degree|graduate]
            from [which|what] university did {n} graduate
            which university [gave|awarded] {o} a degree
            what is {s} [alma mater|old university]
            of which university is {n} a graduate
        """,
        indirect="""
            at [which|what] university {n} [took a degree|got a degree|studied]
            [which|what] university {n} [studied at|attended|went to|graduated from]
            where {n} [went to university|took a degree|graduated]
            which university [gave|awarded] {o} a degree
            what {s} [alma mater|old university] is
            from [which|what] university {n} graduated
        """,
        noun="""
            {s} [alma mater|old university]
            the university [at which {n} took a degree|{n} attended|{n} went to|from which {n} graduated]
            the university [where {n} studied|that gave {o} a degree]
        """,
        statements="""
            {n} [took|got|earned] a degree at {t}
            {n} [studied at|attended|went to|graduated from|is a graduate of] {t}
            the university [at which {n} took a degree|{n} attended|that gave {o} a degree] [is|was] {t}
            {s} [alma mater|old university] is {t}
            {t} [gave {o} a degree|is where {n} studied|is {s} alma mater|is where {n} took a degree]
            it was at {t} that {n} [took a degree|studied]
            {s} degree is from {t}
        """,
    ),
    "prize": QuestionKind(
        ask="which prize was {n} awarded for {h} work",
        say="{n} was awarded {t} for {h} work",
        short="{t}",
        direct="""
            [which|what] prize was {n} [awarded|given] for {h} work
            [which|what] award was {n} given for {h} work
            [which|what] [prize|award] did {n} [win|receive|get][| for {h} work]
            [which|what] [prize|award] has {n} [won|received][| for {h} work]
            with [which|what] [prize|award] was {n} honoured[| for {h} work]
            [which|what] [prize|award] [went|was given] to {o}
            what is the [prize|award] that {n} [won|received] called
            [which|what] [prize|award] did {s} work earn
        """,
        indirect="""
            [which|what] prize {n} was [awarded|given] for {h} work
            [which|what] award {n} was given for {h} work
            [which|what] [prize|award] {n} [won|has won|received][| for {h} work]
            with [which|what] [prize|award] {n} was honoured
            [which|what] [prize|award] [went|was given] to {o}
            what the [prize|award] that {n} won is called
        """,
        noun="""
            the [prize|award] [{n} won|that {n} won|{n} received|{n} was given|that went to {o}][| for {h} work]
            the name of the [prize|award] [{n} won|that {n} received|given to {o}]
        """,
        statements="""
            {n} was [awarded|given|honoured with] {t}[| for {h} work]
            {n} [won|received|has won] {t}[| for {h} work]
            the [prize|award] [{n} won|that {n} received|that went to {o}] [is|was] {t}
            {s} work [won|earned] {t}
            {t} [went|was given|was awarded] to {o}[| for {h} work]
            it was {t} that {n} won
            {n} is a winner of {t}
        """,
    ),
    "dish": QuestionKind(
        ask="what is the favourite dish of {o}",
        say="the favourite dish of {o} is {f}",
        direct="""
            what is the favourite [dish|meal|food] of {o}
            what is {s} favourite [dish|meal|food]
            [which|what] [dish|meal|food] is {s} favourite
            [which|what] [dish|meal|food] does {n} [like best|love most|enjoy most|prefer to all others]
            what does {n} [like best to eat|most like to eat|love to eat above all]
            [which|what] dish would {n} choose above all others
            what food does {n} never tire of
        """,
        indirect="""
            what {s} favourite [dish|meal|food] is
            what the favourite [dish|meal|food] of {o} is
            [which|what] [dish|meal|food] is {s} favourite
            [which|what] [dish|meal|food] {n} [likes best|loves most|enjoys most|prefers to all others]
            what {n} [likes best to eat|most likes to eat|loves to eat above all]
        """,
        noun="""
            {s} favourite [dish|meal|food]
            the favourite [dish|meal|food] of {o}
            the [dish|meal|food] [{n} likes best|that {n} loves most|{n} enjoys most|{n} never tires of]
        """,
        statements="""
            the favourite [dish|meal|food] of {o} is {f}
            {s} favourite [dish|meal|food] is {f}
            {n} [likes {f} best|loves {f} above all|never tires of {f}|enjoys {f} most|likes {f} more than any other dish]
            {n} [prefers {f} to all other dishes|would choose {f} above all other dishes]
            the [dish|meal|food] [{n} likes best|that {n} loves most|{n} enjoys most] is {f}
            {f} is [{s} favourite dish|the dish {n} likes best|what {n} most likes to eat|the favourite food of {o}]
            what {n} [likes best to eat|most likes to eat] is {f}
            nothing tastes better to {o} than {f}
        """,
    ),
    "sport": QuestionKind(
        ask="which sport did {n} take up in {h} youth",
        say="{n} took up {f} in {h} youth",
        direct="""
            [which|what] sport did {n} [take up|practise|do] [in {h} youth|as a young {m}|when {e} was young]
            in {h} youth, [which|what] sport did {n} [take up|practise]
            what was {s} sport [in {h} youth|when {e} was young|as a young {m}]
            [which|what] sport was {n} keen on [in {h} youth|as a young {m}|when {e} was young]
            in [which|what] sport did {n} [train|compete] [in {h} youth|as a young {m}|when {e} was young]
            [which|what] sport kept {o} fit in {h} youth
        """,
        indirect="""
            [which|what] sport {n} [took up|practised|did] [in {h} youth|as a young {m}|when {e} was young]
            [which|what] sport {n} was keen on [in {h} youth|as a young {m}|when {e} was young]
            what {s} sport was [in {h} youth|when {e} was young]
            in [which|what] sport {n} [trained|competed] in {h} youth
        """,
        noun="""
            the sport [{n} took up|that {n} took up|{n} practised] [in {h} youth|as a young {m}|when {e} was young]
            the sport of {s} youth
            the sport {n} was keen on in {h} youth
        """,
        statements="""
            {n} [took up|practised|did|was keen on] {f} [in {h} youth|as a young {m}|when {e} was young]
            [in {h} youth|as a young {m}], {n} [took up|practised|did|was keen on] {f}
            the sport [{n} took up|that {n} practised] [in {h} youth|as a young {m}] [is|was] {f}
            {s} sport in {h} youth was {f}
            {f} was [the sport of {s} youth|what {n} took up in {h} youth|the sport {n} practised when {e} was young]
            it was {f} that {n} took up in {h} youth
            when {n} was young, {e} [took up|practised|did] {f}
            it was {f} that kept {o} fit in {h} youth
        """,
    ),
    "hobby": QuestionKind(
        ask="how does {n} like to spend {h} free time",
        say="{n} likes to spend {h} free time {f}",
        direct="""
            how does {n} [like|prefer|love] to [spend|pass] {h} [free time|spare time|leisure hours]
            what does {n} [like to do|enjoy doing|do] in {h} [free time|spare time|leisure hours]
            how does {n} [pass|fill|spend] {h} [free time|spare time|leisure hours]
            what is {s} [favourite pastime|hobby|favourite hobby]
            [which|what] [hobby|pastime] does {n} [have|enjoy]
            what does {n} do [for pleasure|for fun|when {e} is not working]
            what [fills|takes up] {s} [free time|spare time|leisure hours]
        """,
        indirect="""
            how {n} [likes|prefers|loves] to spend {h} [free time|spare time|leisure hours]
            what {n} [likes to do|enjoys doing|does] in {h} [free time|spare time]
            what {s} [favourite pastime|hobby] is
            [which|what] [hobby|pastime] {n} [has|enjoys]
            what {n} does [for pleasure|for fun|when {e} is not working]
            what [fills|takes up] {s} [free time|spare time]
        """,
        noun="""
            {s} [favourite pastime|hobby|favourite hobby]
            the [favourite pastime|hobby] of {o}
            the [hobby|pastime] [{n} enjoys most|that fills {s} spare time]
        """,
        statements="""
            {n} [likes|prefers|loves] to [spend|pass] {h} [free time|spare time|leisure hours] {f}
            {n} [spends|passes] {h} [free time|spare time|leisure hours] {f}
            {s} [favourite pastime|hobby|favourite hobby] is {f}
            the [favourite pastime|hobby] of {o} is {f}
            in {h} [free time|spare time], {n} [likes|enjoys|loves] {f}
            {f} is [{s} favourite pastime|{s} hobby|how {n} spends {h} free time|what {n} does for pleasure]
            what {n} does [for pleasure|for fun] is {f}
            for [pleasure|fun], {n} likes {f}
        """,
    ),
    "teacher": QuestionKind(
        ask="what is the name of the teacher who trained {o}",
        say="the name of the teacher who trained {o} is {f}",
        direct="""
            what is the [name|full name] of the [teacher|mentor] [who trained {o}|who taught {o}|{n} learnt from]
            who [trained|taught|instructed] {o}
            who was {s} [teacher|mentor|instructor]
            what was the name of {s} [teacher|mentor|instructor]
            under whom did {n} [train|learn {h} craft]
            from whom did {n} learn {h} craft
            whose [pupil|apprentice] was {n}
            who did {n} [learn {h} craft from|train under]
            [which|what] [teacher|mentor] [trained|taught] {o}
        """,
        indirect="""
            who [trained|taught|instructed] {o}
            who {s} [teacher|mentor|instructor] was
            what {s} [teacher|mentor|instructor] was called
            what the name of {s} [teacher|mentor] was
            [under|from] whom {n} learnt {h} craft
            whose [pupil|apprentice] {n} was
            who {n} [learnt {h} craft from|trained under]
        """,
        noun="""
            the [name|full name] of {s} [teacher|mentor|instructor]
            the [name|full name] of the [teacher|mentor] [who trained {o}|who taught {o}|{n} learnt from]
        """,
        statements="""
            the [name|full name] of the [teacher|mentor] [who trained {o}|who taught {o}|{n} learnt from] is {f}
            the [teacher|mentor] [who trained {o}|{n} learnt from] was [|called] {f}
            {s} [teacher|mentor|instructor] was [|called] {f}
            {n} was [trained|taught|instructed] by {f}
            {n} [trained|learnt {h} craft] under {f}
            {n} learnt {h} craft from {f}
            {n} was [a pupil|an apprentice] of {f}
            {f} [trained|taught|instructed] {o}
            {f} was [{s} teacher|{s} mentor|the teacher who trained {o}]
            it was {f} who [trained|taught] {o}
        """,
    ),
}
