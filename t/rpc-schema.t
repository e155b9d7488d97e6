#!/usr/bin/perl
# The JSON Schema of requests against the code, in both directions: the same commands and options, the same verdicts; and
# vmconf-rpc(7) and vmconf's own options against both.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use JSON::PP;

need('python3');
need_that('python3 has jsonschema (t/setup check installs it)', sub { (run_command('python3', '-c', 'import jsonschema'))[0] == 0 });

my $json = JSON::PP->new->canonical->allow_nonref;
my $schema = decode_json(slurp("$top/rpc.schema.json"));
my @commands = @{ $schema->{'$defs'}{request}{properties}{command}{enum} };

sub options_in_schema {
	my ($command) = @_;
	my $of = $schema->{'$defs'}{$command};
	$of = $schema->{'$defs'}{ $of->{'$ref'} =~ s{.*/}{}r } if $of->{'$ref'};
	return $of->{properties} || {};
}

# ---- the same names everywhere ----

my $source = slurp("$top/commands/rpcrequest.c");
my ($table) = $source =~ /^static const struct rpc_command commands\[\] = \{\n(.*?)^\};/ms;
my (%verb, %options);
while ($table =~ /^\t\{"([-a-z]+)", RPC_[A-Z]+, "([a-z]+)",.*?(\w+)\},$/mg) {
	my ($command, $verb, $of) = ($1, $2, $3);
	my ($rows) = $source =~ /^static const struct rpc_option ${of}\[\] = \{\n(.*?)^\};/ms or die "no table $of\n";
	$verb{$command} = $verb;
	$options{$command} = [$rows =~ /\{"([-a-z]+)"/g];
}
is_deeply([sort keys %verb], [sort @commands], 'commands of the code and of the schema');
for my $command (@commands) {
	is_deeply([sort @{ $options{$command} }], [sort keys %{ options_in_schema($command) }], "options of $command: code and schema");
}

my ($section) = slurp("$top/man/vmconf-rpc.7") =~ /^\.Ss Commands\n(.*?)^\.Ss/ms;
my (%page, @of);
for my $line (split /\n/, $section) {
	@of = split / , /, $1 if $line =~ /^\.It Cm ([-a-z]+(?: , [-a-z]+)*)$/ && $line !~ /Pq/;
	$page{$_} ||= {} for @of;
	$page{$_}{$1} = 1 for $line =~ /^\.It Cm ([-a-z]+) Pq/ ? @of : ();
}
$page{'restart-vm'} = $page{'stop-vm'};	# the page says so
is_deeply([sort keys %page], [sort @commands], 'commands of the page');
is_deeply([sort keys %{ $page{$_} }], [sort @{ $options{$_} }], "options of $_: page and code") for @commands;

# What vmconf takes, requests have too. Of many VMs each has a request of its own.
my %elsewhere = map { $_ => 1 } qw(help json addresses all tag from-order parallel delay no-wait quiet);
for my $command (grep { $verb{$_} !~ /^(list|status|watch)$/ } @commands) {
	my $help = vmconf_does($verb{$command} eq 'restart' ? 'stop' : $verb{$command}, '--help');
	my %takes = map { (/^(nic|forward)$/ ? "${_}s" : $_) => 1 } grep { !$elsewhere{$_} } $help =~ /--([a-z][-a-z]+)/g;
	is_deeply([sort grep { $_ ne 'vm-id' } @{ $options{$command} }], [sort keys %takes], "options of $command and of vmconf $verb{$command}");
}

# ---- verdicts ----

my $judge = <<'PYTHON';
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.load(open(sys.argv[1]))
Validator.check_schema(schema)
for line in open(sys.argv[2], encoding="utf-8"):
	print("good" if Validator(schema).is_valid(json.loads(line)) else "bad")
PYTHON
spew("$work/judge.py", $judge);

my @values = ('null', 'true', 'false', '0', '1', '64', '-5', '4097', '67108864', '67108865', '1.5', '""', '"x"', '"1"', '"20G"', '"1.5t"', '"20"',
	'"90s"', '"1m30s"', '"30s1m"', '"forever"', '"-x"', '"a/b"', '"images"', '"' . 'x' x 65 . '"', '[]', '["x"]', '[""]', '[1]', '[{}]', '{}', '{"x": "y"}',
	'{"x=y": 1}', '{"": 1}', '316224000', '316224001');
my @requests;
for my $command (@commands) {
	my %good = map { $_ => '"vm"' } grep { $_ eq 'vm-id' } @{ $options{$command} };
	for my $option (@{ $options{$command} }, 'nonsense') {
		for my $value (@values) {
			my %with = (%good, $option => $value);
			push @requests, "{\"command\": \"$command\", \"options\": {" . join(', ', map { "\"$_\": $with{$_}" } sort keys %with) . '}}';
		}
	}
	push @requests, "{\"command\": \"$command\"}", map { "{\"command\": \"$command\", \"options\": $_}" } @values;
}
push @requests, map { ("{\"command\": $_}", "{\"command\": \"list-vms\", \"id\": $_}", "{\"command\": \"list-vms\", \"other\": $_}") } @values;
push @requests, map { "{\"command\": \"list-vms\", \"id\": \"$_\"}" } 'x' x 80, 'x' x 81;
push @requests, grep { $_ ne '1.5' && $_ !~ /^[-0-9"tfn]/ } @values;
spew("$work/requests", join '', map { "$_\n" } @requests);
my ($status, $out, $err) = run_command('python3', "$work/judge.py", "$top/rpc.schema.json", "$work/requests");
is($status, 0, 'the schema is one') or diag($err);
my @verdicts = split /\n/, $out;

sub answers {
	my ($file, @options) = @_;
	my ($status, $out, $err) = run_command('sh', '-c', 'exec "$0" rpc "$@" <"$INPUT"', $ENV{T_VMCONF} || "$top/vmconf", @options);
	is("$status$err", '0', "vmconf rpc @options");
	return split /\n/, $out;
}
$ENV{INPUT} = "$work/requests";
my @answers = answers("$work/requests", '--check');
is(scalar @answers, scalar @requests, scalar(@requests) . ' requests, and an answer to each');
my @wrong;
for my $i (0 .. $#requests) {
	my $answer = decode_json($answers[$i] || '{}');
	my $verdict = ($answer->{'execution-info'}{status} || '') eq 'success' ? 'good' : 'bad';
	push @wrong, "$requests[$i]: the schema says $verdicts[$i], the code $answers[$i]" if $verdict ne $verdicts[$i];
}
is(scalar @wrong, 0, 'the same verdict on each') or diag(join "\n", @wrong[0 .. ($#wrong > 9 ? 9 : $#wrong)]);
cmp_ok(scalar(grep { $_ eq 'good' } @verdicts), '>', 50, 'many are good');
ok(!-e "$ENV{QEMU_SUPERVISE_CONFIG_DIR}" && !-e "$ENV{QEMU_SUPERVISE_STATE_DIR}", '--check does nothing');

# All these answers are as the schema says.
spew("$work/answers.json", $json->encode({ %$schema, '$ref' => '#/$defs/answer' }));
spew("$work/answers", join '', map { "$_\n" } @answers);
(undef, $out) = run_command('python3', "$work/judge.py", "$work/answers.json", "$work/answers");
is(scalar(grep { $_ ne 'good' } split /\n/, $out), 0, 'answers are as the schema says');

done_testing;
