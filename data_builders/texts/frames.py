"""Frames: the part of a question or an answer that is the same whatever is asked ("do you know {x}?"). {x} is the place
of the question, or of what is stated. See grammar.py for the notation."""

# around a question: "where was she born"
DIRECT = """
{x}?
[so|now|tell me|please|well then], {x}?
[a quick|one|a simple|here is a] question: {x}?
[for the record|just to be sure|out of curiosity|once again|if you know|as far as you know], {x}?
{x}, [please|do you know|if I may ask|as far as you know]?
do you know the answer to this: {x}?
help me with one thing: {x}?
"""

# around a question, with almost no words added
LIGHT_QUESTION = """
[so|now|okay|right|well|again|first|next|hello|excuse me|once more|then], {x}[|, please|, anyone|, if I may ask]?
[good morning|good day|hello again|all right|very well|next question|just checking|new question], {x}?
"""

# around a clause: "where she was born"
INDIRECT = """
[can|could|would] you [tell me|please tell me|say] {x}?
do you [know|happen to know|remember|recall] {x}?
do you have any idea {x}?
[does anyone|does anybody] know {x}?
is it [known|on record] {x}?
may I ask {x}?
please [tell me|say|state] {x}.
[tell me|let me know|remind me] {x}[|, please].
I [would like to|want to|need to] know {x}.
I [wonder|have forgotten|cannot remember|am trying to find out] {x}.
what I would like to know is {x}.
"""

# around a noun phrase: "her birthplace"
NOUN = """
what is {x}?
[state|tell me] {x}[|, please].
please [state|tell me] {x}.
[can|could] you tell me {x}[|, please]?
do you [know|remember] {x}?
I am [looking for|trying to find out] {x}.
[|for a short biography,|for a form,|for a quiz,] I need to know {x}.
"""

# a sentence that names the person, before a question with a pronoun
CONTEXT = """
I have been reading about {n}. {x}
{n} came up in conversation today. {x}
[my question is|this is] about {n}. {x}
we were talking about {n}. {x}
you must have heard of {n}. {x}
I am writing [a short piece|a few lines] about {n}. {x}
a friend mentioned {n}[| the other day]. {x}
I would like to learn more about {n}. {x}
"""
AFTER_INDIRECT = """
[can you tell me|do you know] {x}?
I [would like to know|wonder] {x}.
"""
AFTER_NOUN = """
what is {x}?
[state|tell me] {x}, please.
"""

# around an answer: "she was born in Torvik"
STATEMENT = """
{x}.
as far as [I know|is known|anyone knows], {x}.
it is [known|said|well known|on record] that {x}.
[the records say|the records show|all records agree|the sources say] that {x}.
according to [the records|what is known|the archives|all sources], {x}.
the answer is that {x}.
I [believe|am told|can say|have read] that {x}.
{x}, as far as [I know|is known].
{x}, [according to the records|so the records say|I believe].
to answer your question, {x}.
"""
LIGHT_ANSWER = """
[well|so|indeed|right|oh|okay|now|in short|in fact|of course|simply put], {x}[|, I believe|, I think|, they say|, it seems].
{x}, [apparently|reportedly|it is said|I am told|I think|they say|it seems].
"""
SHORT = """
{x}.
[it is|that is|that would be|the answer is|it must be] {x}.
{x}, [as far as I know|according to the records|I believe|so the records say].
I [believe|am told] it is {x}.
the records say {x}.
"""
