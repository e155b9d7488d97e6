#!/usr/bin/perl
# The JSON Schema against the parser, in both directions: the same keys, the same defaults, the same verdicts; and the
# tables of vmconf(5) against both.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use Definitions;
use JSON::PP;

need('python3');
need_that('python3 has jsonschema (t/setup check installs it)', sub { (run_command('python3', '-c', 'import jsonschema'))[0] == 0 });

my $program = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
my $schema = decode_json(slurp("$top/vm.schema.json"));
my $source = slurp("$top/vm/keys.c");
my $page = slurp("$top/man/vmconf.5");
mkdir "$work/config";
local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/config";
local $ENV{QEMU_SUPERVISE_STATE_DIR} = "$work/state";

# ---- verdicts ----

# Which of the files the schema takes.
my $judge = <<'PYTHON';
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.load(open(sys.argv[1]))
Validator.check_schema(schema)
for path in sys.argv[2:]:
	print(path, "good" if Validator(schema).is_valid(json.load(open(path))) else "bad")
PYTHON

sub judged {
	my (%texts) = @_;
	spew("$work/judge.py", $judge);
	spew("$work/$_.json", $texts{$_}) for keys %texts;
	my ($status, $out, $err) = run_command('python3', "$work/judge.py", "$top/vm.schema.json", map { "$work/$_.json" } sort keys %texts);
	is($status, 0, 'the schema is one') or diag($err);
	return { map { m{([^/]+)\.json (good|bad)} ? ($1 => $2) : () } split /\n/, $out };
}

sub parsed {
	my ($text) = @_;
	spew("$work/config/vm.json", $text);
	my ($status) = run_command($program, '--print', 'vm');
	return { 0 => 'good', 78 => 'bad' }->{$status} // "status $status";
}

subtest 'good ones' => sub {
	my $verdicts = judged(map { ("good$_" => $good[$_][0]) } 0 .. $#good);
	is($verdicts->{"good$_"}, 'good', "the schema takes $good[$_][0]") for 0 .. $#good;
};

subtest 'bad ones' => sub {
	my $verdicts = judged(map { ("bad$_" => $bad[$_][0]) } 0 .. $#bad);
	is($verdicts->{"bad$_"}, $bad[$_][2] ? 'good' : 'bad', "the schema's verdict on $bad[$_][0]") for 0 .. $#bad;
};

# One value of each type for each key: nobody has thought of these beforehand.
subtest 'every key with every type' => sub {
	my @values = ('null', 'true', 'false', '0', '1', '-5', '1.5', '""', '"x"', '"1"', '"none"', '[]', '["x"]', '[{}]', '{}', '{"x": "y"}');
	my %kinds = ('' => 'properties', disks => 'disk', nics => 'nic');
	my %texts;
	for my $key (sort keys %{ $schema->{properties} }) {
		next if $key eq 'on' || ($key eq 'run-as' && $> != 0);	# ladders, and who we are, are beyond a schema
		$texts{"$key-$_"} = "{\"kernel\": \"k\", \"$key\": $values[$_]}" for grep { $key ne 'kernel' } 0 .. $#values;
	}
	for my $list ('disk', 'nic') {
		my $rest = { disk => '"format": "raw", "path": "p"', nic => '"type": "user"' }->{$list};
		for my $key (sort keys %{ $schema->{'$defs'}{$list}{properties} }) {
			my $others = join ', ', grep { !/^"$key"/ } split /, /, $rest;
			$texts{"$list-$key-$_"} = "{\"${list}s\": [{" . ($others ? "$others, " : '') . "\"$key\": $values[$_]}]}" for 0 .. $#values;
		}
	}
	my $verdicts = judged(%texts);
	is(parsed($texts{$_}), $verdicts->{$_}, $texts{$_}) for sort keys %texts;
};

# ---- keys, defaults ----

sub source_keys {
	my ($table) = @_;
	my ($text) = $source =~ /^static const struct key ${table}\[\] = \{\n(.*?)^\};/ms or die "no table $table\n";
	return $text =~ /^\tKEY\("([-a-z]+)"/mg;
}

# The rows of the page: key, type, default, in their order.
my @rows = $page =~ /^\.It Cm ([-a-z]+) Pq ([^\n:]+): ([^\n]*)$/mg;
my (@page_keys, %default);
while (my ($key, $type, $default) = splice(@rows, 0, 3)) {
	push @page_keys, $key;
	$default{$key} = $default =~ s/\\\(dq/"/gr;
}

subtest 'the same keys' => sub {
	my @keys = source_keys('vm_keys');
	is_deeply([sort keys %{ $schema->{properties} }], [sort @keys], 'of a VM: parser and schema');
	is_deeply([sort keys %{ $schema->{'$defs'}{disk}{properties} }], [sort(source_keys('disk_keys'))], 'of a disk');
	is_deeply([sort keys %{ $schema->{'$defs'}{nic}{properties} }], [sort(source_keys('nic_keys'))], 'of a nic');
	is_deeply([sort @page_keys], [sort(@keys, source_keys('disk_keys'), source_keys('nic_keys'))], 'parser and manual page');
	my ($formats) = $source =~ /bool needs_file.*?formats\[\] = \{(.*?)\};/s;
	is_deeply($schema->{'$defs'}{disk}{if}{properties}{format}{enum}, [$formats =~ /"(\w+)"/g], 'formats that need a file');
};

# A key that says its default is as one that is left out.
subtest 'the same defaults' => sub {
	my $json = JSON::PP->new->allow_nonref;
	my $print = sub {
		spew("$work/config/vm.json", $_[0]);
		my ($status, $out, $err) = run_command($program, '--print', 'vm');
		is("$status$err", '0', $_[0]);
		return $out;
	};
	my $plain = $print->('{}');
	my %same;
	for my $key (sort keys %{ $schema->{properties} }) {
		next unless exists $schema->{properties}{$key}{default};
		my $default = $json->encode($schema->{properties}{$key}{default});
		$same{$key} = 1;
		is($default{$key}, $default, "$key: manual page and schema");
		is($print->("{\"$key\": $default}"), $plain, "$key: parser and schema");
	}
	my @others = grep { $default{$_} =~ /^["\[{0-9]|^(true|false)$/ && !$same{$_} } source_keys('vm_keys');
	is_deeply(\@others, [], 'no default in the page alone');
};

done_testing;
