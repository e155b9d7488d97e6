#!/usr/bin/perl
# vmconf metrics: what it says of VMs in each state, that promtool has nothing against it, and the example for systemd.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64');

# Where it is not installed it is fetched, but not installed: that would start Prometheus.
my ($promtool) = grep { -x } map { "$_/promtool" } split(/:/, $ENV{PATH});
if (!$promtool) {
	my $fetched = -d "$top/build/prometheus" || (grep { -x "$_/apt-get" } split(/:/, $ENV{PATH}));
	need_that('prometheus can be fetched',
		sub { $fetched && system("$top/t/unpack", "$top/build/prometheus", 'prometheus', 'python3-prometheus-client') == 0 });
	$promtool = "$top/build/prometheus/usr/bin/promtool";
}

local $ENV{PYTHONPATH} = "$top/build/prometheus/usr/lib/python3/dist-packages";
my $openmetrics = 'import sys
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as read
print(sum(len(family.samples) for family in read(open(sys.argv[1]))))';

# The samples, by metric and labels; promtool has read them first.
sub metrics {
	my $text = vmconf_does('metrics');
	spew("$work/metrics", $text);
	my ($status, $out, $err) = run_command('sh', '-c', qq($promtool check metrics <"$work/metrics"));
	is("$status$out$err", '0', 'promtool check metrics');
	SKIP: {
		skip('no prometheus_client', 1) if system(qq(python3 -c 'import prometheus_client' 2>/dev/null)) != 0;
		($status, $out, $err) = run_command('python3', '-c', $openmetrics, "$work/metrics");
		is($out, (() = $text =~ /^qemu/mg) . "\n", 'it is OpenMetrics') or diag($err);
	}
	return { $text =~ /^qemu_supervise_vm_(\S+?\{.*\}) (\S+)$/mg };
}

sub of { my ($m, $vm, $metric, $more) = @_; return $m->{qq($metric\{vm="$vm") . ($more ? ",$more" : '') . '}'} }

is(vmconf_does('metrics') =~ s/^# (?:HELP|TYPE|UNIT) .*\n//mgr, "# EOF\n", 'no VM, no sample');
my $description = qq(a "web" server\\\n2nd line, {vm="x"} \x{c3}\x{bc});
T::define('web1', { description => 'DESCRIPTION', accel => 'tcg', memory => '64M', args => ['-S'], nics => [] });
my $json = JSON::PP->new->utf8(0)->allow_nonref->encode($description);
spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web1.json", slurp("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web1.json") =~ s/"DESCRIPTION"/$json/r);
spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/wrong.json", '{');
my $m = metrics();
my $escaped = $description =~ s/(["\\])/\\$1/gr =~ s/\n/\\n/gr;
is(of($m, 'web1', 'description', qq(description="$escaped")), 1, 'a label is escaped') or diag(slurp("$work/metrics"));
is(of($m, 'web1', 'state', 'state="stopped"'), 1, 'stopped');
is(of($m, 'web1', 'state', 'state="running"'), 0, 'and nothing else');
is(of($m, 'web1', 'definition_broken'), 0, 'its definition is right');
is(of($m, 'wrong', 'definition_broken'), 1, 'one that is wrong');
is(of($m, 'web1', $_), undef, "stopped: no $_") for qw(uptime_seconds memory_bytes last_stop_seconds last_end_timestamp_seconds guest_listening);
ok(!(grep { /^stops/ } keys %$m), 'no stop yet');

vmconf_does('start', 'web1');
$m = metrics();
is(of($m, 'web1', 'state', 'state="running"'), 1, 'running');
is(of($m, 'web1', 'ready'), 1, 'ready');
is(of($m, 'web1', 'memory_bytes'), 64 << 20, 'memory');
cmp_ok(of($m, 'web1', 'uptime_seconds'), '<', 100, 'uptime');
is(of($m, 'web1', 'supervisor_missing'), 0, 'it has a supervisor');
is(of($m, 'web1', 'guest_listening'), undef, 'whether it listens is not known');
kill('KILL', state_of('web1')->{supervisor});
wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
$m = metrics();
is(of($m, 'web1', 'state', 'state="unmanaged"'), 1, 'unmanaged');
is(of($m, 'web1', 'supervisor_missing'), 1, 'its supervisor is missing');
my $before = time;
vmconf_does('stop', '--kill', 'web1');
$m = metrics();
is(of($m, 'web1', 'state', 'state="cut-off"'), 1, 'cut off');
is(of($m, 'web1', 'stops', 'status="81"'), 1, 'a stop of that status');
cmp_ok(of($m, 'web1', 'last_end_timestamp_seconds'), '>=', $before - 1, 'when it ended');

# ---- what a guest, that is awaited, says ----
my $s = supervise(definition => { %{ T::fake_definition("$work/fake", fake_qemu()) }, ready => 'listening' }, name => 'fake');
$s->wait_log(qr/the guest listens/);
is(of(metrics(), 'fake', 'guest_listening'), 1, 'a guest that listens') or diag(slurp("$work/metrics"));
$s->signal('QUIT');
$s->end;

# ---- the example ----
my $unit = slurp("$top/examples/prometheus/qemu-supervise-metrics.service");
my ($does) = $unit =~ /^ExecStart=(\/bin\/sh .*)$/m;
mkdir "$work/prom";
local $ENV{PROM} = "$work/prom/qemu-supervise.prom";
local $ENV{PATH} = "$top:$ENV{PATH}";
is((run_command('sh', '-c', $does))[0], 0, 'the example does its work');
like(slurp($ENV{PROM}), qr/^qemu_supervise_vm_state.*^# EOF$/ms, 'and leaves the metrics where they are looked for');
is_deeply([glob("$work/prom/*")], [$ENV{PROM}], 'and nothing else');
SKIP: {
	skip('systemd-analyze is not installed', 1) if system('command -v systemd-analyze >/dev/null') != 0;
	mkdir "$work/units";
	for my $name (map { "qemu-supervise-metrics.$_" } qw(service timer)) {
		spew("$work/units/$name", slurp("$top/examples/prometheus/$name"));
	}
	my ($status, $out, $err) = run_command('systemd-analyze', 'verify', '--man=no', map { "$work/units/qemu-supervise-metrics.$_" } qw(service timer));
	unlike("$out$err", qr/qemu-supervise-metrics/, 'systemd-analyze has nothing against its units');
}

done_testing();
