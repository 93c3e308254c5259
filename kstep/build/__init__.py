# SPDX-License-Identifier: GPL-2.0-only
"""Builds what a machine boots: configuration, kernel, initramfs."""
