from django.db import migrations

# Full-text search. The text is bounded, since a tsvector holds at most one megabyte: a longer answer is found by its
# first hundred thousand characters.
WORDS = """
CREATE FUNCTION plumbline_words(messages jsonb) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT to_tsvector('simple'::regconfig, left(coalesce(string_agg(message ->> 'content', ' '), ''), 100000))
  FROM jsonb_array_elements(CASE WHEN jsonb_typeof(messages) = 'array' THEN messages ELSE '[]'::jsonb END) AS message
$$
"""
MAKE = [
    WORDS,
    "ALTER TABLE annotate_item ADD COLUMN lexemes tsvector GENERATED ALWAYS AS (plumbline_words(prompt)) STORED",
    "ALTER TABLE annotate_response ADD COLUMN lexemes tsvector GENERATED ALWAYS AS (plumbline_words(messages)) STORED",
    "CREATE INDEX item_words ON annotate_item USING gin (lexemes)",
    "CREATE INDEX response_words ON annotate_response USING gin (lexemes)",
    "CREATE INDEX item_tags ON annotate_item USING gin (tags jsonb_path_ops)",
]
DROP = [
    "DROP INDEX item_tags",
    "DROP INDEX response_words",
    "DROP INDEX item_words",
    "ALTER TABLE annotate_response DROP COLUMN lexemes",
    "ALTER TABLE annotate_item DROP COLUMN lexemes",
    "DROP FUNCTION plumbline_words(jsonb)",
]


def run_on_postgresql(statements):
    def run(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            for statement in statements:
                schema_editor.execute(statement, params=None)

    return run


class Migration(migrations.Migration):

    dependencies = [
        ('annotate', '0002_workbench'),
    ]

    operations = [
        migrations.RunPython(run_on_postgresql(MAKE), run_on_postgresql(DROP)),
    ]
