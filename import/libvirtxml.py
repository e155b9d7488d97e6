"""What is read of libvirt's XML, and how: elements, texts, numbers. Part of import/libvirt."""
import re
import xml.etree.ElementTree as ET

MAX = 1024 * 1024  # bytes of a file; libvirt's have a few thousand
QEMU = '{http://libvirt.org/schemas/domain/qemu/1.0}'

UNITS = {'b': 1, 'bytes': 1, 'k': 2**10, 'KB': 10**3, 'KiB': 2**10, 'M': 2**20, 'MB': 10**6, 'MiB': 2**20,
         'G': 2**30, 'GB': 10**9, 'GiB': 2**30, 'T': 2**40, 'TB': 10**12, 'TiB': 2**40}


class Refused(Exception):
    """The file cannot be taken; its text says why."""


class Builder(ET.TreeBuilder):
    """Without a document type there are no entities, internal or external."""

    def doctype(self, name, pubid, system):
        raise Refused('it has a document type (<!DOCTYPE>), which libvirt never writes')


def parse(path):
    """The element domain of a file."""
    try:
        with (open(0, 'rb') if path == '-' else open(path, 'rb')) as file:
            data = file.read(MAX + 1)
        if len(data) > MAX:
            raise Refused(f'it is larger than {MAX} bytes: no domain of libvirt\'s')
        root = ET.fromstring(data, ET.XMLParser(target=Builder()))
    except OSError as error:
        raise Refused(f'cannot read it: {error.strerror}') from None
    except (ET.ParseError, ValueError, LookupError) as error:
        raise Refused(f'it is no XML: {error}') from None
    if root.tag != 'domain':
        raise Refused(f'it is a <{root.tag}>, expected a <domain>, as "virsh dumpxml NAME" prints it')
    return root


def number(text, what):
    """A whole number, decimal or as 0x..."""
    if not re.fullmatch(r'\s*(0x[0-9a-fA-F]{1,16}|[0-9]{1,18})\s*', text or ''):
        raise Refused(f'{what}: found "{text or ""}", expected a number')
    return int(text, 0) if 'x' in text else int(text)


def text_of(element, path):
    """The text of an element below, without space around it; '' if there is none."""
    return (element.findtext(path) or '').strip()


def attribute(element, path, name):
    """An attribute of an element below; '' if there is none."""
    found = element.find(path)
    return (found.get(name) or '') if found is not None else ''


def word(text, what):
    """What goes into a list of options of QEMU's, where a comma would begin the next one."""
    if not re.fullmatch(r'[\w.:+ -]+', text):
        raise Refused(f'{what}: found "{text}", expected a word')
    return text
