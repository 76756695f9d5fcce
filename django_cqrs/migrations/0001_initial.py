"""The first tables."""

import django.db.models.functions.datetime
from django.db import migrations, models, router

from django_cqrs.conf import table
from django_cqrs.partitions import CreatePartitioned


def suit_mariadb(apps, schema_editor):
    """
    Tell "a" from "A" and from "a ", and keep time in UTC, on MariaDB and MySQL.

    Their usual collations ignore case and spaces at the end, by which two order keys would be one; their
    CURRENT_TIMESTAMP is in the session's time zone.
    """
    if schema_editor.connection.vendor != 'mysql':
        return
    collation = 'utf8mb4_nopad_bin' if schema_editor.connection.mysql_is_mariadb else 'utf8mb4_0900_bin'
    for model in apps.get_app_config('django_cqrs').get_models():
        if not router.allow_migrate_model(schema_editor.connection.alias, model):
            continue
        name = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f'ALTER TABLE {name} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}')
        for field in model._meta.fields:
            if isinstance(field, models.DateTimeField) and field.has_db_default():
                column = schema_editor.quote_name(field.column)
                schema_editor.execute(f'ALTER TABLE {name} ALTER COLUMN {column} SET DEFAULT (UTC_TIMESTAMP(6))')


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Action',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('who', models.CharField(max_length=200)),
                ('act', models.CharField(max_length=10)),
                ('reason', models.TextField()),
                ('number', models.BigIntegerField(null=True)),
                ('box', models.CharField(max_length=6)),
                ('queue', models.CharField(max_length=200)),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(max_length=200)),
                ('name', models.CharField(max_length=200)),
                ('message_id', models.UUIDField(null=True)),
                ('cause', models.TextField()),
                ('headers', models.TextField()),
                ('payload_sha256', models.CharField(max_length=64)),
            ],
            options={
                'db_table': table('action'),
                'indexes': [models.Index(fields=['at'], name=table('action_at')), models.Index(fields=['act', 'id'], name=table('action_act')), models.Index(fields=['box', 'id'], name=table('action_box'))],
            },
        ),
        migrations.CreateModel(
            name='Blocked',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('box', models.CharField(max_length=6)),
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('slot', models.BigIntegerField()),
                ('head', models.BigIntegerField()),
                ('attempts', models.IntegerField()),
                ('next_at', models.DateTimeField(null=True)),
                ('error', models.TextField()),
                ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('waits_since', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': table('blocked'),
                'verbose_name': 'blocked key',
                'permissions': [('hasten_blocked', 'Can try blocked keys now')],
                'indexes': [models.Index(fields=['box', 'queue', 'lane', 'next_at'], name=table('blocked_due')), models.Index(fields=['waits_since'], name=table('blocked_waits'))],
                'constraints': [models.UniqueConstraint(fields=('box', 'queue', 'topic', 'key', 'slot'), name=table('blocked_key'))],
            },
        ),
        migrations.CreateModel(
            name='Dead',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('box', models.CharField(max_length=6)),
                ('row', models.BigIntegerField(db_column='row_id', null=True)),
                ('message_id', models.UUIDField(null=True)),
                ('time', models.DateTimeField(null=True)),
                ('attempts', models.IntegerField()),
                ('reason', models.TextField()),
                ('holds', models.BooleanField()),
                ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': table('dead'),
                'verbose_name': 'dead letter',
                'permissions': [('retry_dead', 'Can retry dead letters'), ('skip_dead', 'Can skip dead letters'), ('view_payload', 'Can see what dead letters and sagas hold')],
                'indexes': [models.Index(fields=['box', 'queue', 'id'], name=table('dead_queue')), models.Index(fields=['since'], name=table('dead_since')), models.Index(fields=['key'], name=table('dead_key')), models.Index(fields=['message_id'], name=table('dead_message'))],
            },
        ),
        CreatePartitioned(
            name='History',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('message_id', models.UUIDField()),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('time', models.DateTimeField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('pk', models.CompositePrimaryKey('shipped_at', 'queue', 'row', blank=True, editable=False, primary_key=True, serialize=False)),
                ('row', models.BigIntegerField(db_column='row_id')),
                ('shipped_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name_plural': 'history',
                'db_table': table('history'),
            },
            by='shipped_at',
        ),
        migrations.CreateModel(
            name='Operations',
            fields=[
            ],
            options={
                'verbose_name': 'operations',
                'verbose_name_plural': 'operations',
                'proxy': True,
                'default_permissions': ('view',),
                'indexes': [],
                'constraints': [],
            },
            bases=('django_cqrs.dead',),
        ),
        migrations.CreateModel(
            name='Idempotency',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('fingerprint', models.CharField(max_length=64)),
                ('answer', models.BinaryField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': table('idempotency'),
                'indexes': [models.Index(fields=['created_at'], name=table('idempotency_at'))],
                'verbose_name_plural': 'idempotency keys',
            },
        ),
        migrations.CreateModel(
            name='Inbox',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('message_id', models.UUIDField()),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('time', models.DateTimeField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
            ],
            options={
                'db_table': table('inbox'),
                'indexes': [models.Index(fields=['queue', 'lane', 'id'], name=table('inbox_lane'))],
            },
        ),
        migrations.CreateModel(
            name='Release',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('fingerprint', models.CharField(max_length=64, unique=True)),
                ('handles', models.TextField()),
                ('since', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': table('release'),
            },
        ),
        migrations.CreateModel(
            name='Lane',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('box', models.CharField(max_length=6)),
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
            ],
            options={
                'db_table': table('lane'),
                'constraints': [models.UniqueConstraint(fields=('box', 'queue', 'lane'), name=table('lane_place'))],
            },
        ),
        migrations.CreateModel(
            name='LaneMark',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('box', models.CharField(max_length=6)),
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('owner', models.BigIntegerField()),
                ('head', models.BigIntegerField()),
                ('starts', models.IntegerField()),
            ],
            options={
                'db_table': table('lane_mark'),
                'constraints': [models.UniqueConstraint(fields=('box', 'queue', 'lane'), name=table('lane_mark_place'))],
            },
        ),
        migrations.CreateModel(
            name='Outbox',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('message_id', models.UUIDField()),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('time', models.DateTimeField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
            ],
            options={
                'db_table': table('outbox'),
                'indexes': [models.Index(fields=['queue', 'lane', 'id'], name=table('outbox_lane'))],
            },
        ),
        migrations.CreateModel(
            name='ParkedInbox',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('message_id', models.UUIDField()),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('time', models.DateTimeField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
            ],
            options={
                'db_table': table('inbox_parked'),
                'indexes': [models.Index(fields=['queue', 'topic', 'key', 'id'], name=table('inbox_parked_key'))],
            },
        ),
        migrations.CreateModel(
            name='ParkedOutbox',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('message_id', models.UUIDField()),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('time', models.DateTimeField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
            ],
            options={
                'db_table': table('outbox_parked'),
                'indexes': [models.Index(fields=['queue', 'topic', 'key', 'id'], name=table('outbox_parked_key'))],
            },
        ),
        migrations.CreateModel(
            name='Position',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('consumer', models.CharField(max_length=200)),
                ('broker', models.CharField(max_length=200)),
                ('feed', models.CharField(max_length=255)),
                ('mark', models.TextField()),
                ('server', models.CharField(max_length=60)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('lost', models.BigIntegerField()),
                ('lost_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': table('position'),
                'constraints': [models.UniqueConstraint(fields=('consumer', 'broker', 'feed'), name=table('position_feed'))],
            },
        ),
        migrations.CreateModel(
            name='Saga',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('saga', models.CharField(max_length=100)),
                ('status', models.CharField(max_length=12)),
                ('state', models.BinaryField()),
                ('progress', models.TextField()),
                ('position', models.IntegerField()),
                ('version', models.IntegerField()),
                ('fingerprint', models.CharField(max_length=64)),
                ('paused', models.BooleanField()),
                ('cancelled', models.BooleanField()),
                ('error', models.TextField()),
                ('owner', models.CharField(max_length=64)),
                ('recoveries', models.IntegerField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('headers', models.TextField()),
                ('due_at', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'permissions': [('cancel_saga', 'Can cancel sagas'), ('pause_saga', 'Can pause and resume sagas'), ('retry_saga', 'Can retry sagas'), ('skip_saga', 'Can skip steps of sagas')],
                'db_table': table('saga'),
                'indexes': [
                    models.Index(fields=['due_at'], name=table('saga_due')),
                    models.Index(fields=['created_at'], name=table('saga_created')),
                    models.Index(fields=['saga', 'created_at'], name=table('saga_name')),
                    models.Index(fields=['status', 'created_at'], name=table('saga_status')),
                ],
            },
        ),
        migrations.CreateModel(
            name='SagaEntry',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('saga_id', models.UUIDField()),
                ('step', models.CharField(max_length=100)),
                ('action', models.CharField(max_length=20)),
                ('event', models.CharField(max_length=20)),
                ('at', models.FloatField()),
                ('attempt', models.IntegerField()),
                ('error', models.TextField()),
                ('who', models.TextField()),
            ],
            options={
                'verbose_name_plural': 'saga entries',
                'db_table': table('saga_entry'),
                'indexes': [models.Index(fields=['saga_id', 'id'], name=table('saga_entry_saga'))],
            },
        ),
        migrations.CreateModel(
            name='SagaMail',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('address', models.CharField(max_length=64)),
                ('payload', models.BinaryField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name_plural': 'saga mail',
                'db_table': table('saga_mail'),
                'indexes': [
                    models.Index(fields=['address', 'id'], name=table('saga_mail_address')),
                    models.Index(fields=['at'], name=table('saga_mail_at')),
                ],
            },
        ),
        migrations.CreateModel(
            name='SagaWait',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('saga_id', models.UUIDField()),
                ('step', models.CharField(max_length=100)),
                ('address', models.CharField(max_length=64)),
                ('place', models.TextField()),
                ('key', models.TextField(db_column='event_key')),
                ('ends', models.DateTimeField(null=True)),
                ('event', models.BinaryField(null=True)),
            ],
            options={
                'db_table': table('saga_wait'),
                'indexes': [models.Index(fields=['address'], name=table('saga_wait_address'))],
                'constraints': [models.UniqueConstraint(fields=('saga_id', 'step'), name=table('saga_wait_step'))],
            },
        ),
        migrations.CreateModel(
            name='Scheduled',
            fields=[
                ('queue', models.CharField(max_length=200)),
                ('lane', models.SmallIntegerField()),
                ('topic', models.CharField(max_length=200)),
                ('key', models.CharField(db_column='order_key', max_length=200)),
                ('message_id', models.UUIDField()),
                ('kind', models.CharField(max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('version', models.IntegerField()),
                ('source', models.CharField(max_length=200)),
                ('time', models.DateTimeField()),
                ('correlation_id', models.CharField(max_length=200)),
                ('causation_id', models.CharField(max_length=200, null=True)),
                ('headers', models.TextField()),
                ('traceparent', models.CharField(max_length=64, null=True)),
                ('content_type', models.CharField(max_length=200)),
                ('payload', models.BinaryField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('box', models.CharField(max_length=6)),
                ('due', models.DateTimeField()),
            ],
            options={
                'db_table': table('scheduled'),
                'indexes': [models.Index(fields=['due', 'id'], name=table('scheduled_due'))],
            },
        ),
        migrations.CreateModel(
            name='Seen',
            fields=[
                ('pk', models.CompositePrimaryKey('consumer', 'source', 'message_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('consumer', models.CharField(max_length=200)),
                ('source', models.CharField(max_length=200)),
                ('message_id', models.UUIDField()),
                ('crc', models.BigIntegerField()),
                ('seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'db_table': table('seen'),
                'indexes': [models.Index(fields=['seen_at'], name=table('seen_at'))],
            },
        ),
        migrations.CreateModel(
            name='Size',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField()),
                ('name', models.CharField(max_length=200)),
                ('bytes', models.BigIntegerField()),
            ],
            options={
                'db_table': table('size'),
                'indexes': [models.Index(fields=['name', 'at'], name=table('size_at'))],
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('broker', models.CharField(max_length=200)),
                ('consumer', models.CharField(max_length=200)),
                ('topic', models.CharField(max_length=200)),
                ('lanes', models.SmallIntegerField()),
            ],
            options={
                'db_table': table('subscription'),
                'constraints': [models.UniqueConstraint(fields=('consumer', 'broker', 'topic'), name=table('subscription_topic'))],
            },
        ),
        migrations.CreateModel(
            name='Tally',
            fields=[
                ('pk', models.CompositePrimaryKey('minute', 'box', 'queue', 'what', blank=True, editable=False, primary_key=True, serialize=False)),
                ('minute', models.DateTimeField()),
                ('box', models.CharField(max_length=6)),
                ('queue', models.CharField(max_length=200)),
                ('what', models.CharField(max_length=12)),
                ('number', models.BigIntegerField()),
                ('seconds', models.FloatField()),
                ('longest', models.FloatField()),
            ],
            options={
                'db_table': table('tally'),
            },
        ),
        migrations.CreateModel(
            name='Worker',
            fields=[
                ('pk', models.CompositePrimaryKey('host', 'pid', 'job', blank=True, editable=False, primary_key=True, serialize=False)),
                ('host', models.CharField(max_length=200)),
                ('pid', models.BigIntegerField()),
                ('job', models.CharField(max_length=200)),
                ('box', models.CharField(max_length=6)),
                ('queue', models.CharField(max_length=200)),
                ('since', models.DateTimeField()),
                ('at', models.DateTimeField()),
                ('age', models.FloatField()),
                ('trouble', models.TextField()),
            ],
            options={
                'db_table': table('worker'),
            },
        ),
        migrations.RunPython(suit_mariadb, migrations.RunPython.noop, atomic=False),
    ]
