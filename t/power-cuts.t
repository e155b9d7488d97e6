#!/usr/bin/perl
# The power fails at any moment of a change that vmconf makes: afterwards the directories are in the old or the new state,
# no disk is lost, and nothing is left over that the next command does not remove. Every state in which a cut may leave the
# files is made and looked at: t/PowerCut.pm has the model. Of some changes, or all (T_SOAK), also those after a cut of the
# repair, and what is noticed when syncs are left out, or come too late. T_ONLY=PATTERN: only the changes whose names match.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use File::Temp qw(tempdir);
use JSON::PP ();
use List::Util qw(min);
use PowerCut qw(text);
use T;

need('qemu-img', 'strace');
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

# In memory, where there is room: what is synced there is not waited for.
my $dir = tempdir('qs-cut-XXXXXXXX', -w '/dev/shm' ? (DIR => '/dev/shm') : (DIR => $work), CLEANUP => 1);
my $program = $ENV{T_VMCONF} || "$top/vmconf";
my $supervise = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
$ENV{XDG_CONFIG_HOME} = "$work/xdg";
$ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$dir/config";
$ENV{QEMU_SUPERVISE_STATE_DIR} = "$dir/state";
$ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0');	# it cannot look for them while it is traced
$ENV{TMPDIR} = $work;
delete $ENV{VISUAL};
$ENV{EDITOR} = qq(sed -i 's/"description": "[^"]*"/"description": "edited"/');

my $emulator = PowerCut::emulator("$work/emulator");
my @new = ('--nic', 'none', '--set', "emulator=$emulator");

# What every change begins with: a VM with all that has files, another one, and base images.
sub prepare {
	my (@more) = @_;
	PowerCut::make_tree($dir, {});
	mkdir("$dir/$_") for qw(config state state/images);
	vmconf_quietly('create', 'base', '--disk', '1M', '--set', 'description=old', @new);
	mkdir("$dir/state/base/boot");
	spew("$dir/state/base/boot/vmlinuz", 'kernel');
	vmconf_quietly('set', 'base', 'kernel=boot/vmlinuz');
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$dir/state/images/debian.qcow2", '1M');
	$_->() for @more;
}

sub vmconf_quietly {
	my (@words) = @_;
	my ($status, undef, $err) = vmconf(@words);
	die "vmconf @words: $err" if $status != 0;
}

# A definition that was written by hand: without the UUID that the first rename writes down.
sub by_hand { spew("$dir/config/hand.json", qq({"emulator": "$emulator", "disks": [{"path": "root.raw", "format": "raw"}]}\n)) }

sub hand_disk {
	mkdir("$dir/state/hand");
	spew("$dir/state/hand/root.raw", 'what the guest has written' x 1000);
}

# Writes something to a disk that create has made.
sub written {
	my ($disk) = @_;
	truncate(spew("$work/raw", 'what the guest has written' x 4000), 1 << 20);
	run_command('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'qcow2', "$work/raw", "$dir/state/$disk");
}

# A VM whose disk is based on an image that is not empty.
sub overlay {
	truncate(spew("$work/raw", 'what is in the image' x 4000), 1 << 20);
	run_command('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', "$work/raw", "$dir/state/images/debian.qcow2");
	vmconf_quietly('create', 'over', '--image', 'debian', @new);
}

# The guest has left its disk for an overlay, to which the definition does not lead; no VM can be started.
sub moved {
	spew("$dir/state/base/over.qcow2", 'an overlay');
	spew("$dir/state/base/moved.json", '{"version": 1, "disks": {"disk0": {"file": "over.qcow2", "format": "qcow2", "from": "root.qcow2",'
		. ' "bases": ["root.qcow2"]}}}');
}

# UEFI firmware that any machine takes, and a VM that has it.
sub uefi {
	my $descriptors = "$work/xdg/qemu/firmware";
	system('mkdir', '-p', $descriptors);
	my @image = map { { filename => spew("$work/uefi.$_", "uefi $_" x 100), format => 'raw' } } qw(code vars);
	spew("$descriptors/60-edk2-x86_64.json", JSON::PP::encode_json({ 'interface-types' => ['uefi'], features => [], tags => [],
		mapping => { device => 'flash', executable => $image[0], 'nvram-template' => $image[1] },
		targets => [{ architecture => 'x86_64', machines => ['pc-q35-*'] }] }));
	vmconf_quietly('set', 'base', 'machine=q35', 'firmware=uefi');
}

# A request with an id, as it is delivered.
sub asked {
	my $request = JSON::PP::encode_json({ command => 'create-vm', id => 'once', options => { disk => '1M', nics => [], start => JSON::PP::false,
		set => { emulator => $emulator } } });
	return ('sh', '-c', 'exec "$0" rpc <"$1"', $program, spew("$work/request", "$request\n"));
}

# A domain of libvirt's, with variables of UEFI firmware if a descriptor of this host names the firmware.
sub domain {
	my ($found) = grep { $_->{targets}[0]{architecture} eq 'x86_64' && $_->{mapping}{'nvram-template'} }
		map { JSON::PP::decode_json(slurp($_)) } glob '/usr/share/qemu/firmware/60-*.json';
	my ($code, $template) = map { $found->{mapping}{$_}{filename} } 'executable', 'nvram-template';
	return spew("$work/domain.xml", "<domain type='qemu'><name>fresh</name><memory>65536</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type>"
		. "<loader type='pflash'>$code</loader><nvram template='$template'>$template</nvram></os><features><acpi/></features>"
		. "<devices><emulator>$emulator</emulator></devices></domain>");
}

my $no_start = spew("$work/adapter", "#!/bin/sh\n[ \"\$1\" != start ]\n");
chmod(0755, $no_start);

my @changes = (
	{ name => 'create', do => ['create', 'fresh', @new] },
	{ name => 'create --disk', do => ['create', 'fresh', '--disk', '1M', @new] },
	{ name => 'create, raw', do => ['create', 'fresh', '--disk', '1M', '--set', 'disks.0.format=raw', @new] },
	{ name => 'create, below', do => ['create', 'fresh', '--disk', '1M', '--set', 'disks.0.path=a/b/root.qcow2', @new] },
	{ name => 'create --image', do => ['create', 'fresh', '--image', 'debian', @new] },
	{ name => 'create, the first', with => sub { PowerCut::make_tree($dir, {}) }, do => ['create', 'fresh', '--disk', '1M', @new],
		also => \&directories },
	{ name => 'create, mounted', with => sub { mkdir("$dir/state/fresh", 0700) }, mounted => '/state/fresh',
		do => ['create', 'fresh', '--disk', '1M', @new] },
	{ name => 'create, raw, mounted', thorough => 1, with => sub { mkdir("$dir/state/fresh", 0700) }, mounted => '/state/fresh',
		do => ['create', 'fresh', '--disk', '1M', '--set', 'disks.0.format=raw', @new] },
	{ name => 'import', do => ['import', domain()] },
	{ name => 'set', do => ['set', 'base', 'description=new', 'cpus=2'] },
	{ name => 'edit', do => ['edit', 'base'] },
	{ name => 'rename', do => ['rename', 'base', 'renamed'] },
	{ name => 'rename, by hand', thorough => 1, with => sub { by_hand(); hand_disk() }, do => ['rename', 'hand', 'renamed'],
		also => \&identity_only },
	{ name => 'clone', do => ['clone', 'base', 'copy'] },
	{ name => 'clone --linked', do => ['clone', 'base', 'copy', '--linked'], refused => 1 },
	{ name => 'clone, raw', with => sub { by_hand(); hand_disk() }, do => ['clone', 'hand', 'copy'] },
	{ name => 'clone, overlay', with => \&overlay, do => ['clone', 'over', 'copy'] },
	{ name => 'clone, mounted', thorough => 1, with => sub { mkdir("$dir/state/copy", 0700) }, mounted => '/state/copy',
		do => ['clone', 'base', 'copy'] },
	{ name => 'delete', do => ['delete', 'base'] },
	{ name => 'delete --keep-disks', do => ['delete', 'base', '--keep-disks'] },
	{ name => 'delete, mounted', thorough => 1, mounted => '/state/base', do => ['delete', 'base'] },
	{ name => 'delete, two', with => sub { vmconf_quietly('create', 'other', '--disk', '1M', @new) }, do => ['delete', 'base', 'other'],
		also => \&first_only },
	{ name => 'rename and set', do => ['rename', 'base', 'renamed'], then => ['set', 'renamed', 'cpus=2'], also => \&renamed_only },
	{ name => 'start --discard-overlay', with => \&moved, init => $no_start, do => ['start', 'base', '--discard-overlay'], ends => 1,
		refused => 1 },
	{ name => 'rpc', thorough => 1, run => [asked()], judge => \&as_asked, planted => qr/\.rpc/ },
	{ name => 'grow', thorough => 1, with => sub { written('base/root.qcow2') }, do => ['grow', 'base', '2G'], judge => \&as_grown, planted => qr/no f/ },
	{ name => 'grow, raw', thorough => 1, with => sub { by_hand(); hand_disk() }, do => ['grow', 'hand', '64K'], judge => \&as_grown, planted => qr/no f/ },
	{ name => 'a first start', with => \&uefi, run => [$supervise, 'base'], ends => 69, judge => \&as_started },
);

# ---- what must be so after a cut ----

# A rename writes down what was derived from the name first: under the old one, where it means the same.
sub identity_only {
	my ($r) = @_;
	my %tree = %{ $r->{before} };
	$tree{'/config/hand.json'} = $r->{after}{'/config/renamed.json'};
	return text(\%tree);
}

# Of two VMs the first is deleted before the other.
sub first_only {
	my ($r) = @_;
	my %tree = %{ $r->{after} };
	$tree{$_} = $r->{before}{$_} for grep { /\/\.?other[.\/]|\/other$/ } keys %{ $r->{before} };
	return text(\%tree);
}

# Of two changes only the first.
sub renamed_only {
	my ($r) = @_;
	my %tree = %{ $r->{after} };
	$tree{'/config/renamed.json'} = $r->{before}{'/config/base.json'};
	return text(\%tree);
}

# The directories may have been made, and stay.
sub directories {
	my ($r) = @_;
	return map { my $names = $_; text({ map { $_ => $r->{after}{$_} } @$names }) } ['/config'], ['/config', '/state'];
}

# What a supervisor writes is there whole or not at all, and no variables of a firmware that nobody knows.
sub as_started {
	my ($r, $tree) = @_;
	my %is = %$tree;
	my %written = map { $_ => delete $is{"/state/base/$_"} } 'vm.lock', map { ($_, "$_.new") } qw(uefi-vars.fd uefi-vars.json last-end.json history.jsonl console.log);
	return "something else:\n" . left($r, text(\%is)) if text(\%is) ne text($r->{before});
	return 'variables of an unknown firmware' if $written{'uefi-vars.fd'} && !$written{'uefi-vars.json'};
	delete $written{'console.log'};	# is QEMU's
	my $history = delete $written{'history.jsonl'};	# a line that was torn is none, which readers leave out
	my %line = map { $_ => 1 } split /\n/, $r->{after}{'/state/base/history.jsonl'}[2];
	return 'another history' if grep { !$line{$_} && eval { JSON::PP::decode_json($_) } } split /\n/, $history ? $history->[2] : '';
	for my $name (grep { !/new|lock/ && $written{$_} } sort keys %written) {
		return "$name is not whole" if $written{$name}[2] ne $r->{after}{"/state/base/$name"}[2];
	}
	return '';
}

# The disk has its old size or its new one, what the guest has written, and can be grown again. Clusters may have leaked.
sub as_grown {
	my ($r, $tree) = @_;
	my ($disk) = grep { $r->{before}{$_}[2] ne $r->{after}{$_}[2] } sort keys %{ $r->{after} };
	my %is = (%$tree, $disk => $r->{before}{$disk});
	return "something else:\n" . left($r, text(\%is)) if text(\%is) ne text($r->{before});
	my ($name, $format) = $disk =~ /^\/state\/(\w+)\/.*\.(\w+)$/;
	my $size = sub { JSON::PP::decode_json((run_command('qemu-img', 'info', '--output=json', '-f', $format, $_[0]))[1] || '{}')->{'virtual-size'} };
	$r->{sizes} //= [map { $size->(spew("$work/$_.disk", $r->{$_}{$disk}[2])) } qw(before after)];
	my $now = $size->("$dir$disk") // 'none';
	return "its size is $now, not one of @{ $r->{sizes} }" if !grep { $now eq $_ } @{ $r->{sizes} };
	my ($differs, @how) = run_command('qemu-img', 'compare', '-f', $format, '-F', $format, "$dir$disk", "$work/before.disk");
	return "compare: @how" if $differs;
	my ($broken, @why) = $format eq 'raw' ? 0 : run_command('qemu-img', 'check', '-f', $format, "$dir$disk");
	return "qemu-img check: $broken @why" if $broken != 0 && $broken != 3;
	my ($status, $out, $err) = vmconf('grow', $name, $r->{sizes}[1] / 1024 . 'K');
	return "grown again: $out$err" if $status != 0 || $size->("$dir$disk") != $r->{sizes}[1];
	return ('', $now == $r->{sizes}[1] ? 'new' : 'old');
}

# Delivered again, the request makes the VM that it had begun, and no other; once it was done, it is answered with that.
sub as_asked {
	my ($r) = @_;
	my ($status, $out, $err) = run_command(asked());
	my @answers = map { JSON::PP::decode_json($_) } split /\n/, $out;
	my @vms = grep { $_ ne 'base' } map { m{/([^/]+)\.json$} } glob "$dir/config/*.json";
	my $vm = $answers[-1]{response}{'vm-id'} // '';
	return "asked again: $status $out$err" if "$status$err" ne '0' || ($answers[-1]{response}{status} // '') ne 'stopped';
	return "there are @vms, and it answers $vm" if "@vms" ne $vm || !-e "$dir/state/$vm/root.qcow2";
	return ('', $out eq $r->{out} ? 'new' : 'old');
}

# What check says. That it has finished something is as it should be.
sub check {
	my ($status, $out, $err) = vmconf('check');
	return join "\n", $status, grep { !/its last change is finished now$/ } split /\n/, "$out$err";
}

# What is wrong after the cut, '' if nothing is; second, which state it is.
sub wrong_with {
	my ($r, $state) = @_;
	$r->make_state($state);
	my $said = check();
	my $tree = PowerCut::tree($dir);
	if ($r->{judge}) {
		return ("check: $said", 'new') if $said ne $r->{said}{old};
		my ($why, $is) = $r->{judge}->($r, $tree);
		return ($why, $is || 'new');
	}
	my $is = text($tree);
	my $good = $r->{good}{$is} || '';
	return ("check: $said", $good) if $said ne $r->{said}{ $good || 'old' };
	return ("neither old nor new:\n" . left($r, $is), '') if !$good;
	return ('', $good);
}

# What differs from the old tree.
sub left {
	my ($r, $is) = @_;
	my %old = map { $_ => 1 } split /\n/, text($r->{before});
	my %now = map { $_ => 1 } split /\n/, $is;
	return join "\n", (map { "- $_" } grep { !$now{$_} } sort keys %old), (map { "+ $_" } grep { !$old{$_} } sort keys %now);
}

# What is run: a change, or two one after the other.
sub command_of {
	my ($change) = @_;
	return @{ $change->{run} } if $change->{run};
	my @command = ($program, @{ $change->{do} });
	return $change->{then} ? ('sh', '-c', '"$@" && "$0" ' . join(' ', @{ $change->{then} }), $program, @command) : @command;
}

sub recorded {
	my ($change) = @_;
	prepare($change->{with} || ());
	local $ENV{QEMU_SUPERVISE_INIT} = $change->{init} || 'none';
	my $before = check();
	local $PowerCut::writes_disks = $change->{judge} && $change->{judge} == \&as_grown;
	my $r = PowerCut::record($dir, $change->{mounted}, command_of($change));
	my $after = check();
	is($r->{status}, $change->{ends} || 0, "$change->{name} is recorded") or diag($r->{errors});
	is($r->{unlike}, '', "$change->{name}: nothing was overlooked in the recording");
	is((grep { $_ eq '0' } $before, $after) + ($change->{refused} || 0), 2, "$change->{name}: what check says") or diag($before, $after);
	$r->{judge} = $change->{judge};
	$r->{said} = { old => $before, between => $before, new => $after };
	$r->{good} = { (map { $_ => 'between' } $change->{also} ? $change->{also}->($r) : ()), text($r->{before}) => 'old',
		text($r->{after}) => 'new' };
	return $r;
}

# Looks at all states after these events, each once, and returns those that are wrong: [state, why]; and two numbers.
sub look {
	my ($r, $events, $enough) = @_;
	my ($states, $cuts) = $r->states($events);
	my @wrong;
	for my $key (sort keys %$states) {
		my $seen = $r->{seen}{$key} //= [wrong_with($r, $states->{$key})];
		my ($why, $is) = @$seen;
		$why ||= 'the change was made, and is lost' if $states->{$key}{final} && $is ne 'new' && !$r->{is_repair};
		push @wrong, [$states->{$key}, $why] if $why;
		last if $enough && @wrong;
	}
	return (\@wrong, scalar keys %$states, $cuts);
}

sub tell_wrong {
	my ($state, $why) = @_;
	my $tree = $state->{tree};
	diag("after the cut:\n", map { "$_ $tree->{$_}[0] " . length($tree->{$_}[2]) . "\n" } sort keys %$tree);
	diag($why =~ tr/ -~\n/?/cr);
}

# ---- the repair is cut off, too ----

# Looks at what is left when the check after a cut is cut off itself, and another one follows: once for each way in which it
# repairs something, or (T_SOAK) for each state. Returns what is wrong, how many repairs that were, and their states.
sub look_at_repairs {
	my ($r) = @_;
	my ($states) = $r->states;
	my (@wrong, %seen);
	my $count = 0;
	for my $key (sort keys %$states) {
		next if ($r->{seen}{$key}[1] // '') eq '' || !grep { /\/(?:\.journal|\.state\.new|\.new)/ } keys %{ $states->{$key}{tree} };
		$r->make_state($states->{$key});
		my $repair = PowerCut::record($dir, $r->{mounted}, $program, 'check');
		my $does = join "\n", map { $_->{text} } @{ $repair->{events} };
		next if $seen{$does}++ && !$ENV{T_SOAK};
		@$repair{qw(good said judge is_repair)} = (@$r{qw(good said judge)}, 1);
		my ($found, $more) = look($repair);
		push @wrong, @$found;
		$count += $more;
	}
	return (\@wrong, scalar keys %seen, $count);
}

# ---- faults that must be noticed ----

# What may be left out unnoticed, and why.
my $one_journal = 'a later sync brings to the disk, too, what is before it in the same journal; not all file systems have one';
my @superfluous = (
	[qr/^grow: no fdatasync /, 'qemu-img calls it more often than it must'],
	[qr/: no fdatasync /, 'qemu-img calls it; vmconf syncs the disk again'],
	[qr/^create.*: no fsync state\/fresh\/.*root\.qcow2|^clone --linked: no fsync state\/copy\/root/, 'qemu-img has synced it, or a size is all of it'],
	[qr/: no fsync state(?:\/(?:fresh|copy|base|\.rpc)(?:\/a|\/a\/b|\/boot)?)? \d$/, $one_journal],
	[qr/: no fsync \S+\/qs-cut-\w+ 2$/, $one_journal],
	[qr/^rename, by hand: no fsync config 1$/, $one_journal],
	[qr/^rename.*: commit before fsync state 2$/, 'the journal renames the directory again'],
);

# The events without one sync each, and with the commit before it: [name, events].
sub faults {
	my ($change, $r) = @_;
	my @events = @{ $r->{events} };
	my (@faults, %count);
	my ($commit) = grep { ($events[$_]{domain} // '') eq 'config' && ($events[$_]{what}[0] // '') =~ /^(?:move|gone)$/ } reverse 0 .. $#events;
	$commit //= -1;
	for my $n (grep { $events[$_]{kind} eq 'begin' } 0 .. $#events) {
		my $name = $events[$n]{text} . ' ' . ++$count{ $events[$n]{text} };
		push @faults, ["$change->{name}: no $name", [grep { ($_->{sync} // -1) != $events[$n]{sync} } @events]];
		push @faults, ["$change->{name}: commit before $name",
			[@events[0 .. $n - 1], $events[$commit], @events[$n .. $commit - 1], @events[$commit + 1 .. $#events]]] if $commit > $n;
	}
	return @faults;
}

# Adds up how many are noticed and how many are superfluous, and returns those that are neither.
sub plant {
	my ($change, $r, $sum) = @_;
	my @missed;
	for my $fault (grep { !$change->{planted} || $_->[0] =~ $change->{planted} } faults($change, $r)) {
		my ($name, $events) = @$fault;
		my ($found) = look($r, $events, 1);
		my ($why) = grep { $name =~ $_->[0] } @superfluous;
		note("$name: ", @$found ? 'noticed' : $why ? "not noticed: $why->[1]" : 'NOT NOTICED');
		$sum->{ @$found ? 'noticed' : 'superfluous' }++ if @$found || $why;
		push @missed, $name if !@$found && !$why;
	}
	return @missed;
}

# ---- all of it ----

my %sum = (cuts => 0, states => 0, noticed => 0, superfluous => 0);
for my $change (grep { !$ENV{T_ONLY} || $_->{name} =~ /$ENV{T_ONLY}/ } @changes) {
	my $name = $change->{name};
	my $r = recorded($change);
	my ($wrong, $states, $cuts) = look($r);
	is(scalar @$wrong, 0, "$name: old or new after each cut");
	note(sprintf('%s: %d operations, %d cuts, %d states', $name, scalar @{ $r->{events} }, $cuts, $states));
	$sum{cuts} += $cuts;
	$sum{states} += $states;
	if ($change->{thorough} || $ENV{T_SOAK}) {
		my ($again, $repairs, $more) = look_at_repairs($r);
		is(scalar @$again, 0, "$name: and after each cut of a repair");
		note("$name: $repairs repairs, $more states");
		push @$wrong, @$again;
		$sum{states} += $more;
		my @missed = plant($change, $r, \%sum);
		is(join('; ', @missed), '', "$name: each sync that is left out, or late, is noticed");
	}
	tell_wrong(@$_) for @$wrong[0 .. min(2, $#$wrong)];
}
diag("$sum{cuts} cuts, $sum{states} states, $sum{noticed} planted faults noticed, $sum{superfluous} are superfluous syncs");

done_testing;
