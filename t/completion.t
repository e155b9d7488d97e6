#!/usr/bin/perl
# Bash completion of both programs: commands, options and triggers as the programs tell them, names of VMs.
use strict;
use warnings;
use File::Basename qw(dirname);
use FindBin;
use lib $FindBin::Bin;
use T;

need('bash');

my $bin = dirname($ENV{T_SUPERVISE} || "$top/qemu-supervise");
@ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)} = ("$work/config", "$work/state");
$ENV{PATH} = "$bin:$ENV{PATH}";
mkdir($_) for "$work/config", "$work/state", "$work/state/images", "$work/here";
spew("$work/config/$_.json", '{ "cpus": 2, "memory": "2G" }') for qw(web1 web2 mail);
chmod(0644, glob("$work/config/*.json"));
spew("$work/state/images/debian12.qcow2", '');
spew("$work/config/.lock", '');

# What bash offers for a line whose last word is being typed.
sub offers {
	my ($program, @words) = @_;
	my $script = <<'BASH';
. "$1"; shift; cd "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"$(complete -p "$1" | sed 's/.*-F \([^ ]*\).*/\1/')"
printf '%s\n' "${COMPREPLY[@]}"
BASH
	my (undef, $out, $errors) = run_command('bash', '-c', $script, 'bash', "$top/completion/$program", "$work/here", $program, @words);
	is($errors, '', "$program @words: no errors");
	return [grep { length } split(/\n/, $out)];
}

my $commands = offers('vmconf', '');
ok((grep { $_ eq 'create' } @$commands) && (grep { $_ eq 'delete' } @$commands), 'commands') or diag("@$commands");
is_deeply(offers('vmconf', 'cons'), ['console'], 'one command');
is_deeply([sort @{ offers('vmconf', 'start', 'web') }], ['web1', 'web2'], 'names of VMs');
is_deeply([sort @{ offers('vmconf', 'delete', '') }], ['mail', 'web1', 'web2'], 'all of them, and nothing else');
is_deeply([sort @{ offers('vmconf', 'enable', 'web1', '') }], ['mail', 'web1', 'web2'], 'for each of several operands');
is_deeply(offers('vmconf', 'create', '--en'), ['--enable'], 'create --enable');
is_deeply(offers('vmconf', 'create', '--tr'), ['--trust-image'], 'create --trust-image');
is_deeply(offers('vmconf', 'delete', '--fo'), ['--force'], 'delete --force');
is_deeply(offers('vmconf', 'stop', '--wi'), ['--within'], 'an option');
is_deeply(offers('vmconf', 'list', '--j'), ['--json'], 'an option of another command');
is_deeply(offers('vmconf', 'rpc', '--c'), ['--check'], 'rpc --check');
is_deeply(offers('vmconf', 'rpc', ''), [], 'rpc takes no names');
is_deeply(offers('vmconf', 'create', '--image', 'deb'), ['debian12'], 'a base image');
spew("$work/here/web.xml", '');
is_deeply(offers('vmconf', 'import', 'we'), ['web.xml'], 'import: a file');
is_deeply(offers('vmconf', 'import', 'web.xml', 'we'), [], 'its name is a new one');
is_deeply(offers('vmconf', 'import', '--p'), ['--print'], 'import --print');
spew("$work/config/mail.json", '{ "tags": ["lab", "mx"], "args": ["x"] }');
is_deeply(offers('vmconf', 'stop', '--tag', ''), ['lab', 'mx'], 'tags');
is_deeply([sort @{ offers('vmconf', 'set', 'web1', '') }], ['cpus=', 'memory='], 'keys of a definition');

is_deeply(offers('qemu-supervise', '--boot'), ['--boot-timeout'], 'qemu-supervise: an option');
is_deeply(offers('qemu-supervise', 'ma'), ['mail'], 'a VM');
is_deeply(offers('qemu-supervise', '--signal', 'TE'), ['TERM'], 'a signal');
is_deeply(offers('qemu-supervise', '--signal', 'TERM', 'ma'), ['mail'], 'and its VM');
is_deeply(offers('qemu-supervise', '--ready', 'l'), ['listening'], 'a word');
is_deeply(offers('qemu-supervise', '-o', 'TE'), ['TERM='], 'a trigger');
ok((grep { $_ eq 'bash' } @{ offers('qemu-supervise', '--', 'bash') }), 'a command behind --');

done_testing;
