# SPDX-License-Identifier: GPL-2.0-only
"""From a source to what a machine boots: configuration, kernel, initramfs."""
