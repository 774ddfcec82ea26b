import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pipeline", "0013_studies_of_every_judge")]

    operations = [
        migrations.AddField(
            model_name="judge",
            name="price_cached",
            field=models.DecimalField(
                blank=True,
                decimal_places=6,
                help_text="per million tokens that the endpoint counts as cached; empty for the price of what it reads",
                max_digits=12,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="price of what it had read before",
            ),
        ),
        migrations.AddField(
            model_name="judge",
            name="elsewhere_units",
            field=models.BigIntegerField(
                default=0,
                help_text="the most that panels and cascades have spent at it; counts against its cap, not theirs",
            ),
        ),
    ]
