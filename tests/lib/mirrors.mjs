// A Debian repository of one package, and an npm registry of one, as files: what a guest can install from an allowed mirror.
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const digest = (algorithm, data, form = 'hex') => crypto.createHash(algorithm).update(data).digest(form);

/** A flat repository in `folder` with the package `name`, which holds /usr/bin/NAME. */
export function debianRepository(folder, name) {
  const tree = path.join(folder, 'tree');
  fs.mkdirSync(path.join(tree, 'DEBIAN'), { recursive: true });
  fs.mkdirSync(path.join(tree, 'usr/bin'), { recursive: true });
  const control = `Package: ${name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@deb.test>\nDescription: says hello\n`;
  fs.writeFileSync(path.join(tree, 'DEBIAN/control'), control);
  fs.writeFileSync(path.join(tree, 'usr/bin', name), '#!/bin/sh\necho hello from a package\n', { mode: 0o755 });
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zgzip', '--build', tree, path.join(folder, `${name}.deb`)], { stdio: 'ignore' });
  fs.rmSync(tree, { recursive: true });
  const deb = fs.readFileSync(path.join(folder, `${name}.deb`));
  const packages = `${control}Filename: ./${name}.deb\nSize: ${deb.length}\nSHA256: ${digest('sha256', deb)}\n\n`;
  fs.writeFileSync(path.join(folder, 'Packages'), packages);
  fs.writeFileSync(path.join(folder, 'Release'), `Date: ${new Date().toUTCString()}\nArchitectures: all amd64\nSHA256:\n ${digest('sha256', packages)} ${packages.length} Packages\n`);
}

/** A registry in `folder`, which `url` leads to, with the package `name`: a function that says hello. */
export function npmRegistry(folder, url, name) {
  const tree = path.join(folder, 'package');
  fs.mkdirSync(tree, { recursive: true });
  const about = { name, version: '1.0.0', main: 'index.js' };
  fs.writeFileSync(path.join(tree, 'package.json'), JSON.stringify(about));
  fs.writeFileSync(path.join(tree, 'index.js'), "module.exports = () => 'hello from a package';\n");
  execFileSync('tar', ['-czf', `${name}-1.0.0.tgz`, 'package'], { cwd: folder });
  fs.rmSync(tree, { recursive: true });
  const tarball = fs.readFileSync(path.join(folder, `${name}-1.0.0.tgz`));
  const dist = { tarball: `${url}/${name}-1.0.0.tgz`, integrity: `sha512-${digest('sha512', tarball, 'base64')}` };
  fs.writeFileSync(path.join(folder, name), JSON.stringify({ name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { ...about, dist } } }));
}
