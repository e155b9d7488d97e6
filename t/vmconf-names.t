#!/usr/bin/perl
# Names that no VM may have, names that no VM has, and command lines that are none.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my @takes_name = (
	['show'], ['status'], ['check'], ['command'], ['set', undef, 'cpus=2'], ['edit'], ['clone', undef, 'other'],
	['rename', undef, 'other'], ['start'], ['stop'], ['restart'], ['console'], ['log'], ['qmp', undef, 'query-status'],
	['delete']
);
$ENV{EDITOR} = 'false';

vmconf_does('create', 'web1', '--nic', 'none');
my $before = slurp("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web1.json");

for my $name ('../web1', '..', '.', 'a/b', '.web1', '_web1', ' web1', 'web1 ', 'web 1', '', 'x' x 65, "web1\n", 'wéb') {
	vmconf_fails(64, qr/^vmconf: "[^\n]*" cannot be the name of a VM: up to 64 letters[^\n]*\n\z/, 'create', '--', $name);
	vmconf_fails(64, qr/cannot be the name of a VM/, map { $_ // $name } (@$_ > 1 ? @$_ : (@$_, $name))) for @takes_name;
	vmconf_fails(64, qr/cannot be the name of a VM/, 'clone', 'web1', $name);
	vmconf_fails(64, qr/cannot be the name of a VM/, 'rename', 'web1', $name);
}
vmconf_fails(64, qr/there is no option/, 'create', '-web1');
vmconf_fails(64, qr/cannot be the name of a VM/, 'create', '--', '-web1');
is(slurp("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web1.json"), $before, 'web1 is as it was');
is_deeply([glob "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/* $ENV{QEMU_SUPERVISE_STATE_DIR}/* $work/*.json"],
	["$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web1.json", "$ENV{QEMU_SUPERVISE_STATE_DIR}/web1"], 'and nothing else is there');

# Those that something else beside the VMs has.
vmconf_fails(64, qr/"$_" cannot be the name of a VM: (the directory of base images|that file) is /, 'create', $_) for 'images', 'defaults';
mkdir "$ENV{QEMU_SUPERVISE_STATE_DIR}/images";
spew("$ENV{QEMU_SUPERVISE_STATE_DIR}/images/base.qcow2", 'base');
for my $row (['images', qr/the directory of base images is called that/], ['defaults', qr/that file is kept for what all definitions have in common/]) {
	my ($name, $why) = @$row;
	spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$name.json", '{}');
	my $line = qr/^vmconf: "$name" cannot be the name of a VM: $why$/m;
	vmconf_fails(64, $line, 'create', $name);
	vmconf_fails(64, $line, map { $_ // $name } (@$_ > 1 ? @$_ : (@$_, $name))) for @takes_name;
	vmconf_fails(64, $line, $_, 'web1', $name) for 'clone', 'rename';
	vmconf_fails(78, qr/^vmconf: \S+\/$name\.json is not a definition: "$name" cannot be the name of a VM: $why$/m, 'check') if $name ne 'defaults';
	unlike(vmconf_does('list'), qr/$name/, "$name.json is not listed");
	for my $words ([$name], ['-n', $name, '--', 'true'], ['--', 'true', '-name', $name]) {
		my ($status, undef, $err) = run_command($ENV{T_SUPERVISE} || "$top/qemu-supervise", @$words);
		is($status, 64, "qemu-supervise @$words");
		like($err, qr/"$name" cannot be the name of a VM( here)?: $why/, 'says why');
	}
	unlink("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$name.json");
}
is(slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/images/base.qcow2"), 'base', 'the base images are where they were');
vmconf_does('create', 'Images', '--nic', 'none');
vmconf_does('delete', 'Images');
symlink('images', "$ENV{QEMU_SUPERVISE_STATE_DIR}/IMAGES");
vmconf_fails(64, qr/the directory of base images is called that/, 'create', 'IMAGES');
unlink("$ENV{QEMU_SUPERVISE_STATE_DIR}/IMAGES");

# One that nobody has.
vmconf_fails(1, qr/^vmconf: there is no VM web2 \(in \S+\); did you mean "web1"\?$/m, map { $_ // 'web2' } (@$_ > 1 ? @$_ : (@$_, 'web2')))
	for @takes_name;
my $longest = 'x' x 64;
vmconf_does('create', $longest, '--nic', 'none');
vmconf_does('create', 'A.b_c-9', '--nic', 'none');
is(vmconf_does('check'), '', 'the longest one is good');

# Sorted as people do it.
vmconf_does('create', "n$_", '--nic', 'none') for 10, 9, 1, 100;
like(vmconf_does('list'), qr/^n1 .*^n9 .*^n10 .*^n100 .*^web1 /ms, 'n9 comes before n10');

# What else is in the directory is no VM.
spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$_", '{}') for 'notes.txt', '.hidden.json', 'web1.json.bak', '.json', 'a b.json';
unlike(vmconf_does('list'), qr/notes|hidden|bak|a b/, 'other files are not listed');

# Command lines.
vmconf_fails(64, qr/^vmconf: no command; see vmconf help$/m);
vmconf_fails(64, qr/there is no command strat; did you mean "start"\?/, 'strat', 'web1');
vmconf_fails(64, qr/there is no command frobnicate; see vmconf help/, 'frobnicate');
vmconf_fails(64, qr/usage: vmconf show NAME/, 'show');
vmconf_fails(64, qr/usage: vmconf show NAME/, 'show', 'web1', 'web2');
vmconf_fails(64, qr/there is no option --jsn; did you mean "json"\?/, 'list', '--jsn');
vmconf_fails(64, qr/--parallel 0: not a number from 1/, 'stop', '--all', '--parallel', '0');
vmconf_fails(64, qr/--within soon: not a time/, 'stop', '--all', '--within', 'soon');
vmconf_fails(64, qr/usage: vmconf stop/, 'stop', '--all', 'web1');
vmconf_fails(64, qr/--delay is for start/, 'stop', '--all', '--delay', '1s');
vmconf_fails(64, qr/--delay soon: not a time/, 'start', '--all', '--delay', 'soon');
vmconf_fails(64, qr/--kill is for stop/, 'start', '--kill', 'web1');
vmconf_fails(64, qr/--trust-image is about --image, and there is none/, 'create', 'new', '--trust-image');
vmconf_fails(64, qr/--image-format says what --image is, and there is none/, 'create', 'new', '--image-format', 'raw');
for my $set ('disks.0={"path": "other", "format": "raw"}', 'disks=[]') {
	vmconf_fails(64, qr/--set: disks\.0 is the disk that --disk makes, and cannot be another one/, 'create', 'new', '--disk', '1M', '--set', $set);
}
vmconf_fails(64, qr/are a JSON object, not \[1\]/, 'qmp', 'web1', 'query-status', '[1]');

# Help.
my $help = vmconf_does('--help');
for my $line ($help =~ /^  (vmconf .*)$/mg) {
	my ($command) = $line =~ /^vmconf (\S+)/;
	my $text = vmconf_does($command, '--help');
	like($text, qr/^usage: \Q$line\E$/m, "vmconf $command --help");
	is(vmconf_does('help', $command), $text, "vmconf help $command");
	my ($examples) = $text =~ /\n\nExamples:\n(.*?)\n\n/s;
	is(scalar(grep { /^  (\w+=\w+ )?vmconf \Q$command\E( |$)/ } split /\n/, $examples), 2, "$command: two examples");
	my %known = map { $_ => 1 } $text =~ /(?<!\S)\[?(--?[a-z][-a-z]*)/g;
	is_deeply([grep { !$known{$_} } $examples =~ /vmconf [^|>]*? (--?[a-z][-a-z]*)/g], [], "$command: their options are known");
}
is(vmconf_does($_), $help, "vmconf $_") for qw(help -h);
vmconf_fails(64, qr/there is no command craete; did you mean "create"\?/, 'help', 'craete');
vmconf_fails(64, qr/it is "vmconf stop" here/, 'help', 'shutdown');
vmconf_fails(64, qr/usage: vmconf help \[COMMAND\]; see vmconf help help$/m, 'help', 'create', 'list');
vmconf_fails(64, qr/list: there is no option --jsn; did you mean "json"\?; see vmconf help list$/m, 'list', '--jsn');
like(vmconf_does('--version'), qr/^vmconf \d+\.\d+\.\d+$/, '--version');

# Nowhere.
{
	local @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)} = ("$work/none", "$work/none");
	is(vmconf_does('list'), '', 'no directory is no VM');
	vmconf_fails(1, qr/^vmconf: there is no VM web1 \(in \S+\)\n\z/, 'show', 'web1');
}

done_testing;
