#!/usr/bin/perl
# Tags choose VMs; what is protected is neither deleted nor killed without --force.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use T;

need('qemu-system-x86_64', 'qemu-img');

my $config = $ENV{QEMU_SUPERVISE_CONFIG_DIR};

sub states { return join ' ', map { state_of($_)->{state} } @_ }

sub listed { return join ' ', map { /^(\S+)/ && $1 ne 'NAME' ? $1 : () } split /\n/, vmconf_does('list', @_) }

# ---- tags ----
vmconf_does('create', 'a', quick('--set', 'tags=["lab","web"]', '--set', 'order=1'));
vmconf_does('create', 'b', quick('--set', 'tags=["lab"]', '--set', 'order=2'));
vmconf_does('create', 'c', quick('--set', 'tags=["labor"]'));
vmconf_does('create', 'd', quick());
is(listed('--tag', 'lab'), 'a b', 'list --tag: the whole word, and those that have it');
is(listed('--tag', 'web', '--tag', 'labor'), 'a c', 'one of two tags');
is(listed('--tag', 'lab', 'b', 'c'), 'b', 'of those named');
my $json = decode_json(vmconf_does('list', '--json', '--tag', 'lab'));
is_deeply([map { $_->{tags} } @{ $json->{vms} }], [['lab', 'web'], ['lab']], 'list --json has them');
is_deeply(state_of('d')->{tags}, [], 'none');
is_deeply(decode_json(vmconf_does('status', 'a', '--json'))->{tags}, ['lab', 'web'], 'so does status --json');
like(vmconf_does('status', 'a'), qr/^tag +lab\ntag +web$/m, 'and status');

like(vmconf_does('start', '--tag', 'lab'), qr/\Aa: running .*\nb: running .*\n\z/, 'start --tag: in order');
is(states(qw(a b c d)), 'running running stopped stopped', 'and no others');
vmconf_does('start', 'c');
like(vmconf_does('restart', '--all', '--tag', 'labor'), qr/\Ac: stopped.*\nc: running/, 'restart --all --tag');
like(vmconf_does('stop', '--all', '--tag', 'lab', '--from-order', 2), qr/\Ab: stopped.*\n\z/, 'stop --all --tag --from-order');
vmconf_does('stop', '--tag', 'web', '--tag', 'labor');
is(states(qw(a b c d)), 'stopped stopped stopped stopped', 'stop with two tags');

my ($status, $out, $err) = vmconf('stop', '--tag', 'lap');
is("$status $out", '0 ', 'no VM has it: nothing to do');
like($err, qr/^vmconf: no VM has the tag lap; did you mean "lab"\?$/m, 'which is said');
is((vmconf('stop', '--tag', 'lab'))[2], '', 'those that have it are down: nothing is said');
($status, $out, $err) = vmconf('list', '--tag', 'x', '--json');
is($status, 0, 'list of none');
is_deeply(decode_json($out)->{vms}, [], 'none');
vmconf_fails(64, qr/stop: --tag a b: not a tag/, 'stop', '--tag', 'a b');
vmconf_fails(64, qr/list: --tag : not a tag/, 'list', '--tag', '');
vmconf_fails(64, qr/usage: vmconf stop/, 'stop', '--tag', 'lab', 'a');
vmconf_fails(78, qr/tags\[1\]: found "b c", expected up to 64 letters/, 'set', 'a', 'tags=["a","b c"]');

# A broken definition has no tags that are known.
my $text = slurp("$config/c.json");
spew("$config/c.json", '{"tags": ["lab"], "cpus": "x"}');
($status, $out, $err) = vmconf('start', '--tag', 'lab');
is($status, 0, 'start --tag beside a broken definition');
like($err, qr/^vmconf: c is left alone: its definition is broken, and its tags are not known$/m, 'which is named');
($status, $out, $err) = vmconf('list', '--tag', 'lab');
unlike($out, qr/^c /m, 'list --tag leaves it out');
like($err, qr/^vmconf: c: broken definition: .*its tags are not known$/m, 'and names it');
spew("$config/c.json", $text);
vmconf_does('stop', '--tag', 'lab');

# ---- protect ----
my $why = qr/^vmconf: p is protected, and is not [a-z ]+: .*use --force, or "vmconf set p protect=false" first$/m;
vmconf_does('create', 'p', quick('--disk', '1M', '--set', 'protect=true', '--set', 'tags=["keep"]'));
is(state_of('p')->{protect}, JSON::PP::true, 'list --json has it');
is(state_of('d')->{protect}, JSON::PP::false, 'and false');
like(vmconf_does('status', 'p'), qr/^protected +delete and kill need --force$/m, 'status');
vmconf_fails(1, $why, 'delete', 'p');
vmconf_fails(1, $why, 'delete', 'd', 'p');
ok(definition('d') && definition('p'), 'neither is deleted');
vmconf_fails(1, $why, 'start', '--discard-overlay', 'p');
vmconf_does('start', 'p', 'd');
my $pid = state_of('p')->{pid};
vmconf_fails(1, $why, 'delete', '--kill', 'p');
vmconf_fails(1, $why, 'stop', '--kill', 'd', 'p');
vmconf_fails(1, $why, 'restart', '--kill', 'p');
vmconf_fails(1, $why, 'stop', '--kill', '--all');
vmconf_fails(1, $why, 'stop', '--kill', '--tag', 'keep');
vmconf_fails(1, $why, 'qmp', 'p', $_) for 'quit', 'system_reset';
is(states('d', 'p'), 'running running', 'all of them run');
is(state_of('p')->{pid}, $pid, 'as before');
like(vmconf_does('qmp', 'p', 'query-status'), qr/prelaunch/, 'other commands may be sent');
vmconf_does('qmp', 'p', 'system_reset', '--force');
vmconf_does('stop', '--kill', 'd');
like(vmconf_does('restart', '--kill', '--force', 'p'), qr/^p: stopped.*\np: running/, 'restart --kill --force');
vmconf_does('stop', 'p');
is(states('p'), 'stopped', 'stop asks the guest, and may');

vmconf_does('set', 'p', 'cpus=2');
vmconf_does('rename', 'p', 'q');
is(definition('q')->{cpus}, 2, 'set and rename may');
vmconf_fails(1, qr/^vmconf: q is protected/m, 'delete', 'q');

# Where it is not known.
$text = slurp("$config/q.json");
spew("$config/q.json", $text =~ s/"cpus"/"cqus"/r);
vmconf_fails(1, qr/^vmconf: q is protected/m, 'delete', 'q');
spew("$config/q.json", "$text,");
vmconf_fails(1, qr/^vmconf: q is not deleted: its definition cannot be read, so whether it is protected is not known/m, 'delete', 'q');
ok(-e "$config/q.json", 'it is there');
spew("$config/q.json", $text);
vmconf_does('set', 'q', 'protect=false');
vmconf_does('delete', 'q');
vmconf_does('set', 'd', 'protect=true');
vmconf_does('delete', '--force', 'd');
ok(!definition('q') && !definition('d'), 'no longer protected, or with --force: deleted');

# ---- what prints it ----
my ($full, undef, $told) = run_command('sh', '-c', 'exec "$0" list > /dev/full', $ENV{T_VMCONF} || "$top/vmconf");
is($full, 1, 'a list that nobody can read whole is no success');
like($told, qr/\Avmconf: cannot write the output: No space left on device\n\z/, 'and says why');

done_testing;
