-- What the catalogue's search finds an item by: its words without case and accents. domain/search.py makes them, and
-- whoever writes an item writes them with it; a job puts right what other tools left.
create table if not exists xpoints.item_words (
    item_id uuid,
    word varchar(50),
    primary key (item_id, word)
);

-- Words that begin as a search asks.
create index async if not exists item_words_word on xpoints.item_words (word, item_id);

grant select on xpoints.item_words to jobs, staff, storefront;

grant insert, delete on xpoints.item_words to jobs, staff;
