"""The devices of a domain of libvirt's: disks, nics and the others. Part of import/libvirt."""
import json
import re
import shlex

from libvirtxml import attribute, number, text_of, word

CACHES = {'none': {'direct': True}, 'directsync': {'direct': True}, 'unsafe': {'no-flush': True}, 'writeback': {},
          'writethrough': {}, 'default': {}}
# Devices by the bus of a disk or a CD; None: virtio-blk of the machine.
DISK_DEVICES = {'virtio': None, 'scsi': 'scsi-hd', 'sata': 'ide-hd', 'ide': 'ide-hd', 'usb': 'usb-storage', 'nvme': 'nvme'}
CD_DEVICES = {'scsi': 'scsi-cd', 'sata': 'ide-cd', 'ide': 'ide-cd', 'usb': 'usb-storage'}
VIRTIO_MODELS = ('virtio-transitional', 'virtio-non-transitional')

# What is nowhere in a definition. None: it is read, or nobody will miss it.
DISK_LEFT = {
    **dict.fromkeys(('source', 'target', 'driver', 'alias', 'address', 'backingStore', 'boot', 'readonly', 'blockio', 'serial',
                     'wwn', 'shareable')),
    'transient': 'what the guest writes is kept', 'iotune': 'its I/O is not limited',
}
NIC_LEFT = {
    **dict.fromkeys(('source', 'target', 'model', 'mac', 'alias', 'address', 'boot', 'mtu', 'portForward', 'backend')),
    'filterref': 'its traffic is not filtered', 'bandwidth': 'its traffic is not limited',
}
TAG = re.compile('[A-Za-z0-9][A-Za-z0-9._-]{0,35}', re.ASCII)  # of a share
SHARE_LEFT = {
    **dict.fromkeys(('source', 'target', 'driver', 'readonly', 'alias', 'address')),
    'binary': 'virtiofsd has its own options', 'idmap': 'the guest\'s users are the host\'s',
}
DEVICES_LEFT = {
    'audio': None, 'hub': None, 'lease': 'no lock manager: QEMU locks the disks',
    'sound': 'the guest has no sound', 'redirdev': 'USB redirection needs spice', 'redirfilter': None,
    'hostdev': 'a device of the host; "args" may have it: -device vfio-pci,host=...',
    'memballoon': 'the guest keeps all of its memory', 'vsock': '"args" may have it: -device vhost-vsock-pci,guest-cid=...',
    'iommu': '"args" may have it: -device intel-iommu', 'crypto': None, 'memory': 'its memory is not added',
}


class Devices:
    """Reads them into the definition of a Domain, which is made of this."""

    # ---- disks ----

    def read_disk(self, element):
        kind = element.get('device') or 'disk'
        name = f'disk {attribute(element, "target", "dev")}'
        source = element.find('source')
        if source is None and kind in ('cdrom', 'floppy'):
            self.leave(name, 'left out; it has no disc in it')
            return
        why = self.disk_cannot_be(element, kind, source)
        if why:
            self.leave(name, f'left out; {why}')
            return
        disk = {'path': source.get('file') or source.get('dev'), 'format': attribute(element, 'driver', 'type') or 'raw'}
        device = self.disk_device(element, kind, name)
        if device:
            disk['device'] = device
        if kind == 'cdrom' or element.find('readonly') is not None:
            disk['read-only'] = True
        self.read_disk_driver(element, disk, name)
        self.read_disk_properties(element, disk)
        self.leave_unknown(name, element, DISK_LEFT)
        self.first.setdefault('cdrom' if kind == 'cdrom' else 'hd', disk)
        self.definition['disks'].append(disk)

    def disk_cannot_be(self, element, kind, source):
        """Why a definition cannot have it; '' if it can."""
        type_ = element.get('type')
        bus = attribute(element, 'target', 'bus') or 'ide'
        if type_ == 'volume':
            return (f'a volume; its path: virsh vol-path --pool {shlex.quote(source.get("pool") or "")} '
                    f'{shlex.quote(source.get("volume") or "")}')
        if type_ not in ('file', 'block'):
            return f'of type {type_}; vmconf(5), EXAMPLES, has a disk on another host'
        if kind not in ('disk', 'cdrom', 'lun') or (kind == 'lun' and bus != 'scsi'):
            return f'a {kind} on {bus}'
        if bus not in (CD_DEVICES if kind == 'cdrom' else DISK_DEVICES):
            return f'on {bus}'
        if element.find('encryption') is not None or source.find('encryption') is not None:
            return 'it is encrypted, and libvirt has the key'
        if source.find('slices') is not None:
            return 'it is a part of a file'
        return '' if source.get('file') or source.get('dev') else 'it has no path'

    def disk_device(self, element, kind, name):
        bus = attribute(element, 'target', 'bus') or 'ide'
        if kind == 'lun':
            return 'scsi-block'
        if kind == 'cdrom':
            return CD_DEVICES[bus]
        if bus == 'virtio' and element.get('model') in VIRTIO_MODELS:
            return element.get('model').replace('virtio', 'virtio-blk-pci')
        return DISK_DEVICES[bus]

    def read_disk_driver(self, element, disk, name):
        driver = element.find('driver')
        given = dict(driver.attrib) if driver is not None else {}
        properties = {}
        cache = given.pop('cache', 'default')
        if CACHES.get(cache):
            disk['cache'] = CACHES[cache]
        if cache in ('writethrough', 'directsync'):
            properties['write-cache'] = 'off'
        if given.get('io'):
            disk['file'] = {'aio': given['io']}
        for key, ours in (('discard', 'discard'), ('detect_zeroes', 'detect-zeroes')):
            if given.get(key):
                disk[ours] = given[key]
        for key, ours in (('error_policy', 'werror'), ('rerror_policy', 'rerror')):
            if given.get(key):
                properties[ours] = given[key].replace('enospace', 'enospc')
        if given.get('queues'):
            properties['num-queues'] = number(given['queues'], name)
        if properties:
            disk['properties'] = properties
        for key in given:
            if key not in ('name', 'type', 'io', 'discard', 'detect_zeroes', 'error_policy', 'rerror_policy', 'queues'):
                self.leave(f'{name}: driver {key}', 'left out')

    def read_disk_properties(self, element, disk):
        properties = disk.setdefault('properties', {})
        if text_of(element, 'serial'):
            properties['serial'] = text_of(element, 'serial')
        if text_of(element, 'wwn'):
            properties['wwn'] = number('0x' + text_of(element, 'wwn'), 'disk/wwn')
        if element.find('shareable') is not None:
            properties['share-rw'] = True
        for key in ('logical_block_size', 'physical_block_size'):
            if attribute(element, 'blockio', key):
                properties[key] = number(attribute(element, 'blockio', key), 'disk/blockio')
        if attribute(element, 'boot', 'order'):
            properties['bootindex'] = number(attribute(element, 'boot', 'order'), 'disk/boot')
        if not properties:
            del disk['properties']

    # ---- network ----

    def read_interface(self, element):
        mac = attribute(element, 'mac', 'address').lower()
        name = f'interface {mac}'.strip()
        nic, why = self.nic_of(element)
        if not nic:
            hint = {'type': 'bridge', 'br': 'BRIDGE', **({'mac': mac} if mac else {})}
            self.leave(name, f'left out; {why}; with a bridge of this host: '
                       f'vmconf set NAME \'nics.{len(self.definition["nics"])}={json.dumps(hint)}\'')
            return
        if why:
            self.leave(name, why)
        if mac:
            nic['mac'] = mac
        self.read_nic_device(element, nic, name)
        link = element.find('link')
        if link is not None and link.get('state') == 'up':
            element.remove(link)
        self.leave_unknown(name, element, NIC_LEFT)
        self.first.setdefault('network', nic)
        self.definition['nics'].append(nic)

    def nic_of(self, element):
        """A nic, and what to say of it; None, and why there is none."""
        kind = element.get('type')
        source = element.find('source')
        bridge = source.get('bridge') if source is not None else None
        if element.find('virtualport') is not None or element.find('vlan') is not None:
            return None, 'it is on a switch that QEMU\'s helper cannot reach, or in a VLAN'
        if kind == 'bridge' and bridge:
            return {'type': 'bridge', 'br': bridge}, ''
        if kind == 'network' and bridge:
            return {'type': 'bridge', 'br': bridge}, (f'{bridge} is there only while libvirt\'s network '
                                                      f'"{source.get("network")}" is active (virsh net-autostart)')
        if kind == 'network':
            network = source.get('network') if source is not None else ''
            return None, f'only libvirt knows the bridge of its network (virsh net-info {shlex.quote(network or "")})'
        if kind == 'user':
            self.read_forwards(element)
            other = attribute(element, 'backend', 'type') == 'passt'
            return {'type': 'user'}, 'QEMU\'s own user network instead of passt' if other else ''
        if kind == 'ethernet':
            target = attribute(element, 'target', 'dev')
            return {'type': 'tap', 'script': 'no', 'downscript': 'no', **({'ifname': target} if target else {})}, ''
        return None, f'it is of type {kind}'

    def read_forwards(self, element):
        for forward in element.findall('portForward'):
            proto = forward.get('proto') or 'tcp'
            address = forward.get('address') or '0.0.0.0'
            for part in forward.findall('range'):
                start = part.get('start') or ''
                if part.get('end', start) != start or ':' in address or part.get('exclude') == 'yes' or forward.get('dev'):
                    self.leave('interface/portForward', f'ports from {start} on are not forwarded')
                    continue
                self.definition.setdefault('forwards', []).append(f'{address}:{start}:{part.get("to", start)}/{proto}')

    def read_nic_device(self, element, nic, name):
        model = attribute(element, 'model', 'type')
        properties = {}
        if model in VIRTIO_MODELS:
            nic['device'] = model.replace('virtio', 'virtio-net-pci')
        elif model and model != 'virtio':
            nic['device'] = word(model, f'{name}: model')
        if attribute(element, 'mtu', 'size'):
            properties['host_mtu'] = number(attribute(element, 'mtu', 'size'), f'{name}: mtu')
        if attribute(element, 'boot', 'order'):
            properties['bootindex'] = number(attribute(element, 'boot', 'order'), f'{name}: boot')
        if properties:
            nic['properties'] = properties

    # ---- other devices ----

    def read_devices(self, element):
        for child in element:
            reader = self.DEVICES.get(child.tag)
            model = child.get('model') or child.get('type') or ''
            if reader:
                reader(self, child)
            elif child.tag != 'memballoon' or model != 'none':
                self.leave_as(DEVICES_LEFT, child.tag, f'{child.tag} {model}'.strip())

    def read_graphics(self, element):
        kind = element.get('type')
        port = element.get('port') or '-1'
        if 'display' in self.definition:
            self.leave(f'graphics {kind}', 'one is enough here')
            return
        listen = element.get('listen') or attribute(element, 'listen', 'address') or '127.0.0.1'
        self.definition['display'] = 'vnc=unix:vnc.sock'
        if kind == 'vnc' and not element.get('passwd') and re.fullmatch('[0-9]+', port) and int(port) >= 5900:
            address = word(listen, 'graphics: listen')
            self.definition['display'] = f'vnc={f"[{address}]" if ":" in address else address}:{int(port) - 5900}'
        else:
            self.leave(f'graphics {kind}', 'VNC on the socket vnc.sock in the VM\'s state directory')

    def read_video(self, element):
        model = attribute(element, 'model', 'type') or 'default'
        shown = self.root.find('devices/graphics') is not None
        if model != 'none':
            self.leave(f'video {model}', 'the machine\'s own graphics card (VGA on a PC)' if shown else 'nothing shows it')

    def read_serial(self, element):
        if self.root.find(f'devices/{element.tag}') is not element or element.get('type') not in ('pty', 'unix', 'file'):
            self.leave(f'{element.tag} {element.get("type")}', 'left out; one serial port, the console (vmconf console)')

    def read_console(self, element):
        target = attribute(element, 'target', 'type') or 'serial'
        if target != 'serial':
            self.leave(f'console {target}', 'left out; the console is the serial port (vmconf console)')

    def read_channel(self, element):
        name = attribute(element, 'target', 'name')
        if name == 'org.qemu.guest_agent.0':
            self.definition['agent'] = True
        else:
            self.leave(f'channel {name or element.get("type")}', 'left out')

    def read_rng(self, element):
        backend = attribute(element, 'backend', 'model')
        if backend not in ('random', 'builtin') or self.machine.startswith('s390'):
            self.leave(f'rng {backend}', 'left out')
            return
        limits = ''
        if attribute(element, 'rate', 'bytes'):
            limits = (f',max-bytes={number(attribute(element, "rate", "bytes"), "rng/rate")}'
                      f',period={number(attribute(element, "rate", "period") or "1000", "rng/rate")}')
        self.args += ['-device', 'virtio-rng-pci' + limits]

    def read_watchdog(self, element):
        model, action = element.get('model'), element.get('action') or 'reset'
        if action == 'dump':
            self.leave('watchdog dump', 'pause instead')
            action = 'pause'
        if model == 'itco':
            self.args += ['-global', 'ICH9-LPC.noreboot=off', '-action', f'watchdog={word(action, "watchdog")}']
        else:
            self.definition['watchdog'] = {'device': model, 'action': action}

    def read_tpm(self, element):
        backend = element.find('backend')
        kind = backend.get('type') if backend is not None else ''
        version = (backend.get('version') if backend is not None else '') or '2.0'
        sealed = 'have the recovery key ready if its disk is sealed with one (BitLocker)'
        if kind != 'emulator' or version != '2.0':
            self.leave(f'tpm {kind} {version}'.strip(), f'left out; the guest has no TPM: {sealed}')
            return
        self.definition['tpm'] = True
        uuid = self.definition.get('uuid')
        if uuid and backend.find('encryption') is None:
            sealed += f', or copy /var/lib/libvirt/swtpm/{uuid}/tpm2 to "tpm" in the state directory before the first start'
        self.leave('tpm', f'a new one; {sealed}')

    def read_filesystem(self, element):
        path, tag = attribute(element, 'source', 'dir'), attribute(element, 'target', 'dir')
        name = f'filesystem {tag}'.strip()
        driver = attribute(element, 'driver', 'type') or 'path'
        why = self.share_cannot_be(element, driver, path, tag)
        if why:
            self.leave(name, f'left out; {why}; remove it from the guest\'s fstab')
            return
        share = {'path': path, 'tag': tag}
        if element.find('readonly') is not None:
            share['read-only'] = True
        if driver == 'path':
            self.leave(name, 'by virtiofs instead of 9p: so it must be in the guest\'s fstab')
        self.leave_unknown(name, element, SHARE_LEFT)
        self.definition.setdefault('shares', []).append(share)

    @staticmethod
    def share_cannot_be(element, driver, path, tag):
        """Why a definition cannot have it; '' if it can."""
        if (element.get('type') or 'mount') != 'mount' or driver not in ('path', 'virtiofs'):
            return f'of type {element.get("type") or "mount"}, driver {driver}'
        if not path.startswith('/'):
            return 'it has no directory of the host'
        if driver == 'path' and (element.get('accessmode') or 'passthrough') != 'passthrough':
            return f'its access mode is {element.get("accessmode")}, and the guest would see other owners'
        return '' if TAG.fullmatch(tag) else 'its tag is not of up to 36 letters, digits, ".", "_" and "-"'

    def read_panic(self, element):
        if element.get('model') == 'hyperv':
            self.flags.append('hv-crash=on')
        elif element.get('model') in (None, 'isa', 'pvpanic', 'pseries', 's390'):
            self.definition['pvpanic'] = True
        else:
            self.leave(f'panic {element.get("model")}', 'left out')

    def read_controller(self, element):
        model = element.get('model')
        if element.get('type') == 'scsi' and model not in (None, 'virtio-scsi'):
            self.leave(f'controller scsi {model}', 'disks on it are on virtio-scsi')
        elif element.get('type') in ('ccid', 'xenbus'):
            self.leave(f'controller {element.get("type")}', 'left out')

    def read_input(self, element):
        if element.get('type') not in ('tablet', 'keyboard', 'mouse'):
            self.leave(f'input {element.get("type")}', 'left out')

    def read_elsewhere(self, element):
        """Another reader has it, or nobody needs it."""

    DEVICES = {
        'emulator': read_elsewhere, 'disk': read_disk, 'interface': read_interface, 'graphics': read_graphics,
        'video': read_video, 'serial': read_serial, 'console': read_console, 'channel': read_channel, 'rng': read_rng,
        'watchdog': read_watchdog, 'tpm': read_tpm, 'filesystem': read_filesystem, 'panic': read_panic, 'controller': read_controller, 'input': read_input,
    }
