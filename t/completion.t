#!/usr/bin/perl
# Completion of both programs: what they tell that a word may become (--complete), and bash, zsh and fish on a terminal.
use strict;
use warnings;
use File::Basename qw(dirname);
use FindBin;
use lib $FindBin::Bin;
use Pty;
use T;

need('bash', 'zsh', 'fish');

my $bin = dirname($ENV{T_SUPERVISE} || "$top/qemu-supervise");
@ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)} = ("$work/config", "$work/state");
$ENV{PATH} = "$bin:$ENV{PATH}";
mkdir($_) for "$work/config", "$work/state", "$work/state/images", "$work/here";
spew("$work/config/$_.json", '{ "cpus": 2, "memory": "2G" }') for qw(web1 web2 mail);
chmod(0644, glob("$work/config/*.json"));
spew("$work/state/images/debian12.qcow2", '');
spew("$work/config/.lock", '');
$ENV{HOME} = "$work/here";
delete @ENV{qw(XDG_DATA_HOME XDG_CONFIG_HOME XDG_DATA_DIRS EDITOR VISUAL)};
chdir("$work/here");
my $up = running(name => 'up1', agent => 'closed', fake => []);	# beside those that are down

# What a program offers for words of which the last one is being typed; descriptions after a tab.
sub told {
	my ($program, @words) = @_;
	my ($status, $out, $err) = run_command("$bin/$program", '--complete', @words);
	is("$status$err", '0', "$program @words: no errors");
	return [split /\n/, $out];
}

sub offers { return [sort map { s/\t.*//r } @{ told(@_) }] }

is_deeply([sort @{ told('vmconf', '') }], [map { s/^  vmconf (\S+).*/$1/r . "\t" . ((vmconf('help', (split)[1]))[1] =~ /\n\n(.*?)\.?\n/)[0] }
	sort grep { /^  vmconf / } split /\n/, vmconf_does('help')], 'all commands, with what help tells first of each');
is_deeply(told('vmconf', '--'), ['--help', '--version'], 'and what is no command');
is_deeply(offers('vmconf', 'cons'), ['console'], 'one command');
is_deeply(offers('vmconf', 'help', 'cons'), ['console'], 'for help, too');
is_deeply(offers('vmconf', 'nothing', ''), [], 'an unknown one');

# The VMs that a command is for.
my %vms = (start => 'mail web1 web2', stop => 'up1', restart => 'up1', delete => 'mail up1 web1 web2', status => 'mail up1 web1 web2', rename => 'mail web1 web2',
	clone => 'mail web1 web2', console => 'up1', create => '', rpc => '', doctor => '');
is("@{ offers('vmconf', $_, '') }", $vms{$_}, "VMs for $_") for sort keys %vms;
is_deeply(told('vmconf', 'delete', 'u'), ["up1\trunning"], 'with their states');
is_deeply(offers('vmconf', 'start', 'web'), ['web1', 'web2'], 'those that begin so');
is_deeply(offers('vmconf', 'enable', 'web1', ''), ['mail', 'up1', 'web2'], 'each once');
is_deeply(offers('vmconf', 'status', 'web1', ''), [], 'one where one is taken');
for my $line (vmconf_does('help') =~ /^  (vmconf .*\bNAME\b.*)$/mg) {
	my ($command) = $line =~ /^vmconf (\S+)/;
	ok(@{ offers('vmconf', $command, '') } > 0 || $command =~ /^(?:create|import)$/, "$command takes a VM");
}

# The options that the program knows are those that help tells.
for my $command (map { (split)[1] } grep { /^  vmconf / } split /\n/, vmconf_does('help')) {
	my $help = (vmconf($command, '--help'))[1] =~ s/\n\nExamples:\n.*//sr;
	my %in_help = map { $_ => 1 } '--help', $help =~ /(?<![-\w])(--[a-z][-a-z]+)/g;
	$in_help{$_} = 1 for $command =~ /^(stop|restart|start)$/ ? @{ offers('vmconf', $command, '--') } : ();	# one table for the three
	is_deeply(offers('vmconf', $command, '--'), [sort keys %in_help], "options of $command");
}
is_deeply(told('vmconf', 'create', '--user-'), ["--user-data\tfor cloud-init"], 'with what help tells of them');
is_deeply(offers('vmconf', 'stop', '--', '--k'), [], 'none behind --');

# Values of options.
spew("$work/config/mail.json", '{ "tags": ["lab", "mx"], "args": ["x"], "cpus": 3, "description": "a host of mail" }');
spew("$work/config/web2.json", '{ "cpus": 2, "memory": "2G", "tags": ["lab"] }');
chmod(0644, glob("$work/config/*.json"));
is_deeply(offers('vmconf', 'create', '--image', 'deb'), [':files', 'debian12'], 'a base image, or a file');
is_deeply(offers('vmconf', 'create', '--image=deb'), ['--image=debian12', ':files'], 'behind = as well');
is_deeply(offers('vmconf', 'create', '--nic', 'b'), ['bridge,br='], 'a nic');
is_deeply(offers('vmconf', 'create', '--user-data', ''), [':files'], 'a file');
is_deeply(offers('vmconf', 'import', 'we'), [':files'], 'import: a file');
is_deeply(offers('qemu-supervise', '--log', '/tmp/l'), [':files'], 'a log');
is_deeply(offers('vmconf', 'import', 'web.xml', 'we'), [], 'its name is a new one');
is_deeply(offers('vmconf', 'stop', '--tag', ''), ['lab', 'mx'], 'tags, each once');
is_deeply(offers('vmconf', 'history', '-n', ''), [], 'a value that nobody knows');
is_deeply(offers('vmconf', 'history', '-n', '5', 'we'), ['web1', 'web2'], 'what follows it');

# Keys and their values.
my @keys = sort keys %{ JSON::PP::decode_json(slurp("$top/vm.schema.json"))->{properties} };
is_deeply(offers('vmconf', 'set', 'web1', ''), [sort map { "$_=" } @keys], 'all keys');
is_deeply(told('vmconf', 'set', 'web1', 'cpus'), ["cpus=\ta whole number from 1 to 4096"], 'with what is expected');
is_deeply(told('vmconf', 'set', 'mail', 'cpus='), ["cpus=3\tas it is"], 'the value that it has');
is_deeply(told('vmconf', 'set', 'mail', 'description='), ["description=a host of mail\tas it is"], 'a string without its quotes');
is_deeply(offers('vmconf', 'set', 'web1', 'agent='), ['agent=false', 'agent=true'], 'yes or no');
is_deeply(offers('vmconf', 'set', 'web1', 'accel=k'), ['accel=kvm'], 'a word of those that are expected');
is_deeply(offers('vmconf', 'create', '--set', 'firmware=u'), ['firmware=uefi'], 'for create, too');
is_deeply(offers('vmconf', 'set', 'web1', 'on.TE'), ['on.TERM='], 'a trigger');
is_deeply(offers('vmconf', 'set', 'web1', 'on.TERM=k'), ['on.TERM=kill'], 'an action');

is_deeply(offers('qemu-supervise', '--boot'), ['--boot-timeout'], 'qemu-supervise: an option');
my (undef, $help) = run_command("$bin/qemu-supervise", '--help');
is_deeply(offers('qemu-supervise', '--'), [sort keys %{ { map { $_ => 1 } $help =~ /(--[a-z][-a-z]+)/g } }], 'all of them');
is_deeply(offers('qemu-supervise', ''), ['mail', 'web1', 'web2'], 'VMs that are down');
is_deeply(offers('qemu-supervise', '--signal', 'TE'), ['TERM'], 'a signal');
is_deeply(offers('qemu-supervise', '--signal', 'TERM', ''), ['up1'], 'and a VM that runs');
is_deeply(offers('qemu-supervise', '--ready', 'l'), ['listening'], 'a word');
is_deeply(offers('qemu-supervise', '-o', 'GUEST_PAN'), ['GUEST_PANICKED='], 'a trigger');
is_deeply(offers('qemu-supervise', '-o', 'TERM=po'), ['TERM=powerdown'], 'an action');
is_deeply(offers('qemu-supervise', '--on=TERM=powerdown 90s, ki'), ['--on=TERM=powerdown 90s, kill'], 'the next one');
is_deeply(offers('qemu-supervise', '-o', 'HUP=ru'), ['HUP=run:'], 'one with an argument');

# ---- the shells ----
my %shells = (
	bash => ['bash', '--norc', '--noprofile', '-i'],
	zsh => ['zsh', '-f', '-i'],
	fish => ['fish', '-i'],
);
my %setup = (
	bash => ". $top/completion/vmconf; . $top/completion/qemu-supervise; bind 'set bell-style none'; PS1='rea''dy '",
	zsh => "fpath=($top/completion/zsh \$fpath); autoload -Uz compinit; compinit -u -D; bindkey -e; unsetopt beep; PS1='rea''dy '",
	fish => "set -p fish_complete_path $top/completion/fish; function fish_prompt; echo -n rea''dy' '; end; function fish_greeting; end",
);

# Types a line with tabs in it, and returns its words as the shell has them then.
my $mark = 0;
sub typed {
	my ($pty, $line) = @_;
	my $n = ++$mark;
	for my $part (split /(?<=\t)/, $line) {
		$pty->type($part);
		$pty->expect(qr/./s) if $part =~ /\t$/;
	}
	$pty->type("\x01printf '[%s]' begin$n \x05 end$n\n");
	my $seen = $pty->expect(qr/\[begin$n\].*\[end$n\]/s);
	$seen =~ /\[begin$n\](.*)\[end$n\]/s;
	my $words = $1;
	$pty->expect(qr/ready /);
	return join ' ', $words =~ /\[(.*?)\]/g;
}

for my $shell (sort keys %shells) {
	my $pty = Pty->new({ TERM => 'xterm', PS1 => 'first ' }, @{ $shells{$shell} });
	$pty->type("$setup{$shell}\n");
	$pty->expect(qr/ready /);
	my @rows = (
		["vmconf consol\t", 'vmconf console', 'a command'],
		["vmconf stop u\t", 'vmconf stop up1', 'a VM that runs'],
		["vmconf rename ma\t", 'vmconf rename mail', 'one that is down'],
		["vmconf create --trust\t", 'vmconf create --trust-image', 'an option'],
		["vmconf set web1 firmw\tuef\t", 'vmconf set web1 firmware=uefi', 'a key and its value, without a space between'],
		["vmconf create --image debi\t", 'vmconf create --image debian12', 'an image'],
		["vmconf create --set=firmware=uef\t", 'vmconf create --set=firmware=uefi', 'a value of a value'],
		["qemu-supervise --on TER\tpowe\t", 'qemu-supervise --on TERM=powerdown', 'a trigger and an action'],
		["qemu-supervise --boot\t", 'qemu-supervise --boot-timeout', 'an option of the other program'],
		["qemu-supervise -- qemu-supervis\t", 'qemu-supervise -- qemu-supervise', 'a command behind --'],
	);
	is(typed($pty, $_->[0]), $_->[1], "$shell: $_->[2]") for @rows;
	$pty->close;
}

# Where they are installed, shells look.
like((run_command('zsh', '-f', '-c', 'print -l $fpath'))[1], qr{^/usr/local/share/zsh/site-functions$}m, 'zsh');
like((run_command('fish', '-c', 'string join \n $fish_complete_path'))[1], qr{^/etc/fish/completions$}m, 'fish');

$up->signal('QUIT');
$up->end;
done_testing;
